-- SPDX-License-Identifier: Apache-2.0
-- /var/lib/minirt/minirt.db. What must be unique is UNIQUE here, not in code. Unknown is NULL, never an
-- invented value. Times are nanoseconds since the epoch. PRAGMA user_version is the schema's version.
-- Whether a container runs is not in here: run/state and run/exit say so, and a verb that finds an exit record
-- moves it into the row (engine/reconcile.py).
CREATE TABLE containers (
    id            TEXT PRIMARY KEY CHECK (length(id) = 64),
    name          TEXT NOT NULL UNIQUE,
    image         TEXT NOT NULL,              -- as the user wrote it; '' for --rootfs
    image_id      TEXT,                       -- sha256:… of the image's config; NULL for --rootfs
    command       TEXT NOT NULL,              -- JSON list: what ps shows
    created_ns    INTEGER NOT NULL,
    status        TEXT NOT NULL CHECK (status IN
                  ('created', 'running', 'paused', 'restarting', 'exited', 'removing')),
    options       TEXT NOT NULL,              -- JSON: everything that run and create were asked for
    auto_remove   INTEGER NOT NULL DEFAULT 0,
    boot_id       TEXT,                       -- of the boot in which it last started
    started_ns    INTEGER,
    finished_ns   INTEGER,
    exit_code     INTEGER,                    -- NULL: never ran, runs, or ended unobserved
    error         TEXT                        -- why the last start failed
) STRICT;
CREATE INDEX containers_by_created ON containers (created_ns);

CREATE TABLE volumes (
    name          TEXT PRIMARY KEY,
    created_ns    INTEGER NOT NULL,
    anonymous     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE container_volumes (
    container     TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    volume        TEXT NOT NULL REFERENCES volumes (name),
    destination   TEXT NOT NULL,
    PRIMARY KEY (container, destination)
) STRICT;
