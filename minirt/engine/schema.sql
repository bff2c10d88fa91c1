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

-- version 2: networks. An address, a MAC or a host port is a lease: taken when a container starts, given back when it
-- has ended (engine/endpoints.py). Whoever finds one taken settles its holder first. Unset addresses are NULL, so
-- that UNIQUE passes them over.
CREATE TABLE networks (
    id            TEXT PRIMARY KEY CHECK (length(id) = 64),
    name          TEXT NOT NULL UNIQUE,
    driver        TEXT NOT NULL CHECK (driver IN ('bridge', 'macvlan')),
    interface     TEXT NOT NULL UNIQUE,       -- the bridge, or macvlan's parent
    subnet4       TEXT UNIQUE,                -- 172.17.0.0/16
    gateway4      TEXT,
    range4        TEXT,                       -- where addresses are leased from; NULL: the whole subnet
    subnet6       TEXT UNIQUE,
    gateway6      TEXT,
    internal      INTEGER NOT NULL DEFAULT 0,
    mtu           INTEGER NOT NULL DEFAULT 0, -- bytes; 0: the kernel's choice
    labels        TEXT NOT NULL DEFAULT '{}', -- JSON
    created_ns    INTEGER NOT NULL
) STRICT;
CREATE TABLE endpoints (
    container     TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    network       TEXT NOT NULL REFERENCES networks (id),
    interface     TEXT NOT NULL,              -- inside: eth0
    number        INTEGER NOT NULL,           -- its ifindex there: 100
    veth          TEXT UNIQUE,                -- on the host; NULL with macvlan
    mac           TEXT NOT NULL,
    address4      TEXT,
    prefix4       INTEGER NOT NULL,
    address6      TEXT,
    prefix6       INTEGER NOT NULL,
    aliases       TEXT NOT NULL,              -- JSON list
    PRIMARY KEY (container, network),
    UNIQUE (container, interface),
    UNIQUE (network, address4),
    UNIQUE (network, address6),
    UNIQUE (network, mac)
) STRICT;
CREATE TABLE ports (
    container     TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    protocol      TEXT NOT NULL CHECK (protocol IN ('tcp', 'udp')),
    host_address  TEXT NOT NULL,              -- '': every address of the host
    host_port     INTEGER NOT NULL CHECK (host_port BETWEEN 1 AND 65535),
    container_port INTEGER NOT NULL CHECK (container_port BETWEEN 1 AND 65535),
    target4       TEXT,
    target6       TEXT,
    PRIMARY KEY (protocol, host_port, host_address)
) STRICT;
CREATE INDEX ports_by_container ON ports (container);

-- version 3: how an end came about, beside its exit code.
ALTER TABLE containers ADD COLUMN oom_killed INTEGER; -- 1: the kernel killed in it for memory
-- What a restart policy has come to (engine/restarting.py); all NULL once the user starts it himself.
ALTER TABLE containers ADD COLUMN restart_count INTEGER; -- how often it has been restarted
ALTER TABLE containers ADD COLUMN delay_ms INTEGER;      -- how long the last restart waited
ALTER TABLE containers ADD COLUMN by_hand INTEGER;       -- 1: the user has stopped it
