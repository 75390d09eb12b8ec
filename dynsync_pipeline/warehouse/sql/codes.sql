-- codes: what the sync says of its own decisions. Tables hold the code, and rules ask for the code; the sentence is for people
-- and is looked up where something is shown, so that wording it better changes nothing else.
--
-- reads    nothing
-- makes    codes: one row per code
-- changes  nothing
create temp table codes (code varchar not null, sentence varchar not null);

insert into codes (code, sentence) values
-- Why a value was written, or not.
('agreed', 'R38 same value on both sides'),
('one_sided', 'R34 edited on one side'),
('marketo_wins', 'R35 lead: Marketo wins'),
('dynamics_wins', 'R35 contact: Dynamics wins'),
('blank_filled', 'R42 no base, blank filled'),
('first_meeting_marketo_wins', 'R42 no base, R35 lead: Marketo wins'),
('first_meeting_dynamics_wins', 'R42 no base, R35 contact: Dynamics wins'),
('dynamics_owns', 'R43 one-way field, Dynamics owns it'),
('sent_again', 'R104 kept differently before, sent once more by a back-fill'),
('marketo_owns', 'R44 one-way field, Marketo owns it'),
('one_way_edited', 'R43 R44 one-way field edited on the other side'),
('new_in_dynamics', 'R15 new in Dynamics'),
('option_renamed', 'R33 option renamed in Dynamics'),
('company_of_record', 'R59 R131 company of the record'),
('deleted_in_dynamics', 'R79 deleted in Dynamics'),
('merged_in_marketo', 'R25 merged in Marketo: the person is its contact'),
('qualified', 'R96 qualified: the person is its contact''s'),
('merged_in_dynamics', 'R99 the records were merged in Dynamics'),
('key_put_back', 'R18 key of a linked person put back'),
('own_field_put_back', 'R18 type or creation date of a linked person put back'),
('linked_by_key', 'R18 linked by key: type and creation date'),
('back_in_dynamics', 'R83 in Dynamics again'),
('new_in_marketo', 'R71 synced to Microsoft from Marketo'),
-- What became of a request.
('created', 'R71 R78 created in Dynamics'),
('assigned', 'R78 the record has that owner'),
('superseded', 'R78 a later request gave the record another owner'),
('kept_out', 'R90 the record is kept out by its filter'),
('not_linked', 'R18 the person holds the id of a record that it is not linked to'),
('already_in_sync', 'R73 already in the sync process'),
('person_missing', 'Marketo shows no such person'),
('owner_unknown', 'R75 no user, or several, for the owner'),
('required', 'Dynamics requires a field that is empty'),
-- What became of an entry for a person's own activity log in Marketo.
('told', 'R115 stands in the log'),
('given_up', 'no answer, and never seen in the log'),
-- How a back-fill ended.
('done', 'everything was read'),
('stopped', 'somebody stopped it'),
-- Why two unequal values stand.
('kept_by_dynamics', 'kept differently by dynamics'),
('kept_by_marketo', 'kept differently by marketo'),
-- What made an entry in a person's activity log.
('new_contact', 'R15 new contact in Dynamics'),
('new_lead', 'R15 new lead in Dynamics'),
('let_in', 'R89 let in by the sync filter'),
('account_changed', 'account changed'),
('account_reapplied', 'account re-applied'),
('account_moved', 'moved to another account'),
('refused', 'refused'),
-- Why something is not settled yet.
('planned', 'planned'),
('waiting', 'waiting'),
('missing', 'not there any more, as the other system says'),
('changed_meanwhile', 'edited meanwhile'),
-- What changed about a column in a system, and what that meant.
('column_gone', 'R107 not offered any more: its field is parked, and nothing is cleared'),
('column_back', 'R107 on offer again: its field joins with the start of a cycle'),
('column_made_anew', 'R109 dropped and made anew: filled from Marketo, and nobody is cleared'),
('column_retyped', 'R109 another type: its field is parked where the type in the field map does not fit; what was refused is tried again'),
('column_shortened', 'R109 shorter: what is longer is refused, and never cut (R117)'),
('column_widened', 'R109 longer: what was refused is tried again'),
('column_places', 'R109 other decimal places: values are compared in these'),
('column_times', 'R109 other meaning of its times: its table is read again'),
('column_bounds', 'R109 other bounds: what is outside is refused; what was refused is tried again'),
('column_required', 'R109 other demand for a value: an empty one may be refused now, or no more'),
('column_hidden', 'R26 not readable any more: its field is parked, and nothing is cleared'),
('column_shown', 'R26 readable again: its field joins with the start of a cycle'),
('column_closed', 'R109 read only now: what is written to it is refused'),
('column_opened', 'R109 writable again: what was refused is tried again'),
('column_relabelled', 'R108 another label: no effect, for fields go by their names (R30)'),
('option_added', 'R33 new option: its label is understood'),
('option_removed', 'R33 option that is gone: whoever has it keeps it'),
('option_relabelled', 'R33 renamed option: whoever has it gets the new label in Marketo'),
-- What the census, the daily audit and extraction find.
('feed_forgot', 'away longer than the feed remembers: everybody was read again'),
('edit_untold', 'edit that no feed told'),
('creation_untold', 'record that no feed told'),
('deletion_untold', 'deletion that no feed told'),
('difference_overlooked', 'difference that no cycle looks at'),
('record_overlooked', 'record without a person that no cycle looks at'),
('link_without_person', 'link without its person in the mirror'),
('link_without_record', 'link without its record in the mirror'),
('link_without_base', 'link without a base'),
('person_linked_twice', 'person with several links'),
('record_linked_twice', 'record with several links'),
('unsettled_without_link', 'unsettled field without a link'),
('unsettled_without_reason', 'unsettled without a reason or a next time to look');
