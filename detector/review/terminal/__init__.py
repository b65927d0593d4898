"""`lockgate review`: the full-screen terminal. It blocks on nothing: what asks the service does so in a thread."""
