-- macros: what several rule files need, stated once. Made on every connection to the working file, so that they are always
-- those of this version.
--
-- reads    nothing
-- makes    nothing
-- changes  nothing

-- R45: what a system sends becomes text that compares equal exactly when the values are equal. What is no value of its type
-- stays the text that it is, so that the other system, or a report, can say so; it never becomes nothing.
-- A line ends alike on every road, and a file of Marketo holds NUL bytes that JSON does not.
-- What is twice in a macro is planned twice, and `nullif` makes two of what it is given.
create or replace temp macro canonical_text(value) as
    case when contains(value, e'\r') or contains(value, chr(0))
        then nullif(regexp_replace(replace(value, chr(0), ''), '\r+\n|\r', e'\n', 'g'), '')
        when value <> '' then value end;

-- A text without either (`warehouse/canonical.py`).
create or replace temp macro canonical_plain_text(value) as nullif(value, '');

create or replace temp macro canonical_integer(value) as
    case when regexp_full_match(value, '[+-]?[0-9]+([.]0+)?') then coalesce(try_cast(value as hugeint)::varchar, value)
         else nullif(value, '') end;

-- Ten places are the most that a column of Dynamics has.
create or replace temp macro canonical_decimal(value) as
    coalesce(regexp_replace(regexp_replace(try_cast(value as decimal(38, 10))::varchar, '0+$', ''), '\.$', ''), nullif(value, ''));

create or replace temp macro canonical_boolean(value) as
    case lower(value) when 'true' then 'true' when '1' then 'true' when 'false' then 'false' when '0' then 'false'
         else nullif(value, '') end;

-- To DuckDB words such as epoch and inf are times as well; to the two systems they are text.
create or replace temp macro canonical_date(value) as
    coalesce(case when value[1] between '0' and '9' then try_cast(left(value, 10) as date)::varchar end, nullif(value, ''));

-- A user-local column keeps an instant, which is a day in the zone of the sync's user. Windows, which converts for Dynamics,
-- knows no history: a zone's first rules hold for all times before. So an instant before 1996 is looked at as if it were 28
-- or more years later, when the calendar is the same.
create or replace temp macro years_later(moment) as
    to_years(case when year(moment) < 1996 then 28 * ((2023 - year(moment)) // 28) else 0 end);

create or replace temp macro local_time(moment, zone) as  -- of a UTC time without zone
    moment + (timezone(zone, timezone('UTC', moment + years_later(moment))) - (moment + years_later(moment)));

create or replace temp macro utc_time(moment, zone) as  -- of a local time without zone
    moment + (timezone('UTC', timezone(zone, moment + years_later(moment))) - (moment + years_later(moment)));

create or replace temp macro canonical_day(value, zone) as
    coalesce(local_time(timezone('UTC', try_cast(value as timestamptz)), zone)::date::varchar, nullif(value, ''));

create or replace temp macro canonical_datetime(value) as
    coalesce(
        case when value[1] between '0' and '9'
            then strftime(try_cast(value as timestamptz) at time zone 'UTC', '%Y-%m-%dT%H:%M:%SZ') end,
        nullif(value, '')
    );

create or replace temp macro canonical_choice(value) as nullif(value, '');

-- R29: several options are their numbers in ascending order, however Dynamics sends them. In Marketo they are one text, their
-- labels behind each other; a semicolon of a label's own is a comma there. (What a macro is given must not bear the name of a
-- lambda's parameter, which is why these are long.)
create or replace temp macro in_order(numbers) as
    array_to_string(
        list_transform(
            list_sort(list_distinct(list_transform(numbers, lambda each_number: try_cast(each_number as hugeint)))),
            lambda each_number: each_number::varchar
        ),
        ','
    );

create or replace temp macro canonical_choices(value) as
    case when regexp_full_match(value, ' *-?[0-9]{1,10} *(, *-?[0-9]{1,10} *)*') then in_order(string_split(value, ','))
         else nullif(value, '') end;

create or replace temp macro blanks() as ' ' || chr(9) || chr(10);

create or replace temp macro listed_label(label) as trim(replace(label, ';', ','), blanks());

create or replace temp macro labels_in(text) as
    list_filter(
        list_transform(string_split(text, ';'), lambda each_label: trim(each_label, blanks())),
        lambda each_label: each_label <> ''
    );

-- R29, R33: what a text in Marketo means, `known` being the row of state.option_maps of its column; null where it names an option
-- that there is not. Of any other type it means itself.
create or replace temp macro meant_options(text, type, known) as
    case type
        when 'choice' then known.numbers[text]
        when 'choices' then
            case when len(labels_in(text)) > 0 and list_has_all(map_keys(known.listed_numbers), labels_in(text))
                then in_order(list_transform(labels_in(text), lambda each_label: known.listed_numbers[each_label])) end
        else text
    end;

-- As it is compared: what means no option keeps its text after a `?`.
create or replace temp macro compared_options(text, type, known) as
    case when type in ('choice', 'choices') then coalesce(meant_options(text, type, known), '?' || text) else text end;

-- A compared value as people and Marketo read it; an option without a label is its number.
create or replace temp macro shown_options(value, type, known) as
    case
        when type not in ('choice', 'choices') then value
        when starts_with(value, '?') then substr(value, 2)
        when type = 'choice' then coalesce(known.labels[value], value)
        else array_to_string(
            list_transform(
                string_split(value, ','),
                lambda each_number: coalesce(listed_label(known.labels[each_number]), each_number)
            ),
            '; '
        )
    end;

-- The labels of a text in the order of their numbers, where all of them are known: their order is no difference (R29).
create or replace temp macro labels_in_order(text, known) as
    case when meant_options(text, 'choices', known) is null then text
         else array_to_string(
            list_transform(
                list_sort(
                    list_distinct(
                        list_transform(
                            labels_in(text), lambda each_label: {n: known.listed_numbers[each_label]::hugeint, label: each_label}
                        )
                    )
                ),
                lambda each_pair: each_pair.label
            ),
            '; '
         ) end;

create or replace temp macro canonical_guid(value) as lower(nullif(value, ''));

-- R45: a column's own places are all it can hold; what Marketo holds finer is no difference. Half a unit goes away from zero.
-- (DuckDB's round wants a constant.)
create or replace temp macro cut_to(digits, places) as canonical_decimal(left(digits, length(digits) - 10 + places));

create or replace temp macro rounded(value, places) as
    case when places between 0 and 9 then
        coalesce(
            cut_to(
                try(  -- the largest number that can be kept has no room for half a unit more
                    try_cast(value as decimal(38, 10))
                        + sign(try_cast(value as decimal(38, 10))) * ('5e-' || (places + 1))::decimal(38, 10)
                )::varchar,
                places
            ),
            value
        )
    else value end;

-- A canonical date or time as a column of Dynamics takes it: a day of a user-local column begins at midnight of that zone.
create or replace temp macro kept_time(value, type, time_behavior, zone) as
    case
        when type = 'date' and time_behavior = 'UserLocal'
            then coalesce(strftime(utc_time(try_cast(value as timestamp), zone), '%Y-%m-%dT%H:%M:%SZ'), value)
        when type = 'date' and time_behavior = 'TimeZoneIndependent' and try_cast(value as date) is not null
            then value || 'T00:00:00Z'
        when type = 'datetime' and time_behavior = 'DateOnly' then left(value, 10)
        else value
    end;

-- Why a column is known to refuse a canonical value, as `column` (a row of state.columns) describes it; null where it is not.
-- Of options Dynamics is asked about the number, Marketo about the label. Dynamics counts UTF-16 units, in which a sign beyond U+FFFF takes two; how Marketo
-- counts nobody tells. `zone` is that of the sync's user: a day of a user-local column goes out as its midnight there.
create or replace temp macro misfit(value, type, held, zone) as
    case
        when not held.is_writable then 'not_writable'
        when value is null then case when held.is_required then 'required' end
        when type = 'boolean' and value not in ('true', 'false') then 'wrong_type'
        -- The words that DuckDB takes for a time, such as inf, and years beyond 9999 or before 1 are none to either system.
        when type = 'date' and (try_cast(value as date) is null or not regexp_full_match(value, '[0-9]{4}-[0-9]{2}-[0-9]{2}'))
            then 'wrong_type'
        when type = 'datetime'
            and (try_cast(value as timestamptz) is null or not regexp_full_match(value, '[0-9]{4}(-[0-9]{2}){2}T([0-9]{2}:){2}[0-9]{2}Z'))
            then 'wrong_type'
        when type in ('date', 'datetime') and held.system = 'dynamics'
            and kept_time(value, type, held.time_behavior, zone) < '1753' then 'out_of_range'
        when type in ('integer', 'decimal') and try_cast(value as decimal(38, 10)) is null then 'wrong_type'
        when held.data_type in ('Integer', 'BigInt', 'integer', 'score', 'percent') and not regexp_full_match(value, '-?[0-9]+')
            then 'wrong_type'
        when type in ('integer', 'decimal') and try_cast(value as double) not between held.minimum and held.maximum
            then 'out_of_range'
        when length(value) + length(regexp_replace(value, '[^\x{10000}-\x{10FFFF}]', '', 'g')) > held.max_length then 'too_long'
    end;

-- That in words, for whoever can mend it. `target` is the column as people know it, `source` where the value was entered.
create or replace temp macro misfit_sentence(code, type, target, source, most_characters, least, most) as
    case code
        when 'not_writable' then
            target || ' is read only for the sync. Make it writable there, or give the field another direction in the field map; '
                || 'it is tried again then.'
        when 'too_long' then
            'The text is longer than the ' || most_characters || ' characters that ' || target || ' holds, and nothing is ever cut '
                || '(R117). Shorten it in ' || source || '; it is tried again then.'
        when 'out_of_range' then
            'The value is outside of what ' || target || ' takes: '
                || case when type in ('date', 'datetime') then 'from 1753 on' else concat_ws(' ', 'from ' || least, 'to ' || most) end
                || '. Correct it in ' || source || '; it is tried again then.'
        when 'wrong_type' then
            'The value is not of the type that ' || target || ' holds (' || type || ' in the field map). Correct it in ' || source
                || '; it is tried again then.'
        when 'required' then
            'The value was emptied, and ' || target || ' must have one. Enter a value in ' || source || '; it is tried again then.'
    end;

-- A canonical value as it stands in a request's JSON. Text that is no number goes out as text, and the system refuses it.
create or replace temp macro json_text(value, type) as
    case
        when value is null then 'null'
        when type = 'boolean' and value in ('true', 'false') then value
        when type in ('integer', 'decimal') and try_cast(value as decimal(38, 10)) is not null then value
        else to_json(value)::varchar
    end;

-- A wide table, view or CTE of that name as rows of its keys, `field` and `value`; a null has no row.
create or replace temp macro long_of(wide) as table
    from (
        unpivot (from query_table(wide))
        on columns(lambda c: c not in ('person_id', 'record_type', 'dynamics_id', 'account_id', 'external_company_id'))
        into name field value value
    );

-- R53, R54: of an account with more contacts than this, no activity per contact is logged.
create or replace temp macro most_contacts_logged() as 5000;

-- R115: a refusal that was met this often rests until somebody edits the value, the rule changes, or it is released.
create or replace temp macro most_attempts() as 8;

create or replace temp macro never() as timestamp '9999-12-31';

-- R116: the gap after the nth attempt in vain doubles from five minutes to a day.
create or replace temp macro gap_after(n_attempts) as
    -- Minutes are compared, because DuckDB takes 42 hours for less than a day.
    to_minutes(least(24 * 60, 5 * (2 ** least(n_attempts - 1, 10))::integer));

-- What a native sync has not carried over by then, beside one in shadow, it leaves.
create or replace temp macro native_patience() as interval 1 hour;

-- `n_attempts` counts the one that was refused at `seen_at`.
create or replace temp macro next_look_at(seen_at, n_attempts) as
    case when n_attempts >= most_attempts() then never() else seen_at + gap_after(n_attempts) end;

-- What comes out of a decision, in the words of rule tests (docs/field-map.md#rule-tests).
create or replace temp macro outcome_word(decided, by_rule) as
    case
        when by_rule = 'in_review' then 'review'
        when decided = 'take_dynamics' then 'to_marketo'
        when decided = 'take_marketo' then 'to_dynamics'
        when decided = 'collision_dynamics_wins' then 'dynamics_wins'
        when decided = 'collision_marketo_wins' then 'marketo_wins'
        else 'nothing'
    end;
