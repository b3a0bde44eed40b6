-- Refresh: what is generated from the feeds is generated again, and the version recorded.

do $refresh$
declare
    known jobfeed.feed;
begin
    for known in select * from jobfeed.feed order by name loop
        if not exists (select from pg_class where oid = known.relation) then
            raise warning 'the table of feed "%" is gone; run: select jobfeed.detach(%)',
                known.name, quote_literal(known.name);
            continue;
        end if;
        perform jobfeed.generate(known);
    end loop;

    update jobfeed.installation
    set version = current_setting('jobfeed.script_version')::int
    where version <> current_setting('jobfeed.script_version')::int;
end
$refresh$;
