-- Text: keys as text, and the nearest right name for a wrong one.

create or replace function jobfeed.key_text(row_json jsonb, key_columns text[]) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case
        when cardinality(key_columns) = 1 then row_json ->> key_columns[1]
        else (
            select string_agg(replace(replace(row_json ->> part, '%', '%25'), ',', '%2C'), ',' order by place)
            from unnest(key_columns) with ordinality as parts (part, place)
        )
    end
$$;
comment on function jobfeed.key_text(jsonb, text[]) is
'The key of a row as one text: the value itself, or the values of a composite key joined by ",", with "%" and ","
escaped.
  row_json     the row, as to_jsonb gives it
  key_columns  the key columns, in key order
Null when the row lacks the column.
Example: jobfeed.key_text(''{"shard": "a,b", "id": 7}'', ''{shard,id}'') = ''a%2Cb,7''';

create or replace function jobfeed.edit_distance(one text, other text) returns int
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    previous int[] := array(select generate_series(0, length(other)));
    current int[];
begin
    for i in 1 .. length(one) loop
        current := array[i];
        for j in 1 .. length(other) loop
            current := current || least(
                current[j] + 1,
                previous[j + 1] + 1,
                previous[j] + (substr(one, i, 1) <> substr(other, j, 1))::int
            );
        end loop;
        previous := current;
    end loop;
    return previous[length(other) + 1];
end
$$;
comment on function jobfeed.edit_distance(text, text) is
'How many letters to insert, delete or replace to turn one word into the other (Levenshtein).
Example: jobfeed.edit_distance(''stat'', ''status'') = 2';

create or replace function jobfeed.suggestion(wrong text, right_names text[], what text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when cardinality(right_names) = 0 then format('there are no %s', what)
        when nearest.distance <= greatest(2, length(wrong) / 2) then format('did you mean "%s"?', nearest.name)
        else format('the %s are: %s', what, array_to_string(right_names, ', '))
    end
    from (select) as always
    left join lateral (
        -- A name cut short ("assigned") means the whole one ("assigned_to") rather than a similar one ("assignee").
        select name, case when length(wrong) > 3 and starts_with(lower(name), lower(wrong)) then 1
                     else jobfeed.edit_distance(lower(left(wrong, 63)), lower(name)) end as distance
        from unnest(right_names) as name
        order by distance, name
        limit 1
    ) as nearest on true
$$;
comment on function jobfeed.suggestion(text, text[], text) is
'The end of an error message: the nearest right name when there is a near one, else all of them.
  wrong        the name that was given
  right_names  the names that exist
  what         what they are, in the plural
Example: jobfeed.suggestion(''stat'', ''{id,status}'', ''columns'') = ''did you mean "status"?''';
