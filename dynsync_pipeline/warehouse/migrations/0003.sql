-- What schema 3 adds to the working file.

-- One row per stream that was read anew because the system refused its link; the last such time. `waits_because`: what it said
-- when it refused again within a day, since when the stream is left out of the cycles; null while it is read.
create table state.refused_links (stream varchar not null, read_anew_at timestamp not null, waits_because varchar);
-- What came after the first layout of the working file (0002.sql), under the same conventions.

-- One row: what columns and views were last made from; none before the first cycle.
create table state.followed_map (digest varchar not null);
