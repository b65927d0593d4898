insert into detector.ruling_gifts (ruling_id, decision_id, gift_id, reasons)
select $1, decision_id, gift_id, reasons from detector.case_gifts where decision_id = any($2::text[])
