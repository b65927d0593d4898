"""The analyst's desk: plain commands and a full-screen terminal, both over the HTTP API with the analyst's own key."""
