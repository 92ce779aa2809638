// SPDX-License-Identifier: GPL-2.0

//! PostgreSQL with all its shared memory from System V. The key of the first piece is the inode number of its
//! data directory, or the next one that is free. Here these directories have the same number.

use super::{postgresql::Server, *};
use crate::{fixture::list, names::shared};
use nix::sys::wait::waitpid;
use std::collections::BTreeSet;

/// Where a data directory is, and the socket.
const DATA: &str = "/srv/data";

const OPTIONS: [&str; 6] = [
    "-clisten_addresses=",
    "-cshared_memory_type=sysv",
    "-cdynamic_shared_memory_type=sysv",
    "-cshared_buffers=64MB",
    // Of no use, and much to be written.
    "-cwal_level=minimal",
    "-cmax_wal_senders=0",
];

/// Something that fills most of the buffers.
const FILL: &str = "create unlogged table filler as \
    select repeat(md5(n::text), 200) as text from generate_series(1, 40) n; \
    alter table filler alter text set storage external; \
    insert into filler select (select text from filler limit 1) || n from generate_series(1, 6400) n; \
    create extension pg_prewarm; \
    select pg_prewarm(reltoastrelid) > 4000 from pg_class where relname = 'filler'";

/// As much of it must come back, in kB.
const FREED: u64 = 32 << 10;

/// Starts a server on a copy of the cluster that Debian's package makes.
fn start(place: &Place, data: &str) -> Outcome {
    let server = Server::find(place)?;
    let folder = place.root.join(&data[1..]);
    if !folder.join("PG_VERSION").exists() {
        fs::create_dir_all(&folder).map_err(words)?;
        // Its directory is the first inode of a file system of its own.
        mounted(Some("tmpfs"), &folder, None, MsFlags::empty(), "mode=700")?;
        let version = &server.version;
        place.run(&[
            "cp",
            "-a",
            &format!("/var/lib/postgresql/{version}/main/."),
            data,
        ])?;
        place.run(&["chown", "postgres:postgres", data])?;
        for (file, text) in [
            ("postgresql.conf", ""),
            ("pg_ident.conf", ""),
            ("pg_hba.conf", "local all all trust\n"),
        ] {
            place.write(&format!("{data}/{file}")[1..], text)?;
        }
    }
    let (folder, socket) = (format!("-D{data}"), format!("-k{data}"));
    let options: Vec<&str> = [folder.as_str(), &socket]
        .into_iter()
        .chain(OPTIONS)
        .collect();
    server.start(place, &options)?;
    let ready = format!("until pg_isready -q -h {data}; do sleep 0.2; done");
    place.run(&["timeout", "120", "sh", "-c", &ready]).map(drop)
}

fn psql(place: &Place, data: &str, sql: &str) -> Result<String, String> {
    let to = format!("host={data} user=postgres");
    place.run(&["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, &to])
}

/// The keys of all pieces that there are, and the pieces that are PostgreSQL's.
fn pieces(place: &Place) -> Result<(BTreeSet<String>, usize), String> {
    let told = place.run(&["ipcs", "-m"])?;
    let lines = told.lines().filter(|line| line.starts_with("0x"));
    let owned = lines.clone().filter(|line| line.contains(" postgres "));
    let keys = lines.clone().filter_map(|line| line.split(' ').next());
    Ok((keys.map(str::to_string).collect(), owned.count()))
}

/// The key of the server's first piece.
fn key(place: &Place, data: &str) -> Result<String, String> {
    // Its last line is the key and the number.
    let pid = place.read(&format!("{data}/postmaster.pid")[1..])?;
    let line = pid.lines().nth(6).ok_or("no key in postmaster.pid")?;
    let key = line.split_whitespace().next().unwrap_or_default();
    let key: u32 = key.parse().map_err(|_| format!("no key: {line}"))?;
    Ok(format!("0x{key:08x}"))
}

/// On the host the second one finds the key taken.
fn on_the_host(host: &Place) -> Outcome {
    let before = pieces(host)?;
    let mut keys = BTreeSet::new();
    let both = ["/srv/a", "/srv/b"];
    for data in both {
        start(host, data)?;
        keys.insert(key(host, data)?);
    }
    equal("keys", keys.len(), 2)?;
    let (all, owned) = pieces(host)?;
    ensure(&format!("{keys:?} of {all:?}"), keys.is_subset(&all))?;
    ensure("more than both", owned >= 2)?;
    for data in both {
        Server::find(host)?.stop(host, data)?;
    }
    equal("afterwards", pieces(host)?, before)
}

pub fn run(world: &World) -> Outcome {
    let [one, two] = &world.contexts;
    on_the_host(&world.host)?;
    let before = pieces(&world.host)?;
    for place in &world.contexts {
        start(place, DATA)?;
        let (name, sql) = (place.name, "create table it as select");
        psql(place, DATA, &format!("{sql} '{name}' as who"))?;
    }
    let first = key(one, DATA)?;
    equal("the key in two", key(two, DATA)?, first.clone())?;
    for place in &world.contexts {
        let (all, owned) = pieces(place)?;
        ensure(&format!("{first} in {all:?}"), all.contains(&first))?;
        // Nothing but its own.
        equal(place.name, owned, all.len())?;
        same("who", psql(place, DATA, "select who from it"), place.name)?;
    }
    equal("on the host", pieces(&world.host)?, before.clone())?;

    same("filled", psql(one, DATA, FILL), "t")?;
    let full = shared()?;
    let others = pieces(two)?;
    end(one)?;
    freed(full)?;
    equal("two", pieces(two)?, others)?;
    same("two", psql(two, DATA, "select who from it"), "two")?;
    equal("on the host", pieces(&world.host)?, before)?;

    // A server that finds a piece of itself in use would not start.
    start(one, DATA)?;
    equal("the key again", key(one, DATA)?, first)?;
    same("one again", psql(one, DATA, "select who from it"), "one")?;
    end(one)
}

/// Kills all that is in a context, and waits for its end.
fn end(place: &Place) -> Outcome {
    let context = place.context;
    child(|| {
        enter(context, 0, 0).map_err(words)?;
        kill(Pid::from_raw(-1), Signal::SIGKILL).map_err(words)?;
        Ok(String::new())
    })?;
    // It is among them, and counts until somebody has asked for it.
    if let Some(keeper) = &place.keeper {
        let _ = waitpid(Pid::from_raw(keeper.pid), None);
    }
    for _ in 0..6000 {
        if !list().map_err(words)?.contains(&context) {
            return Ok(());
        }
        sleep(Duration::from_millis(10));
    }
    Err(format!("context {context} does not end"))
}

/// Waits until the memory of the pieces has come back: nobody can look into the context any more.
fn freed(full: u64) -> Outcome {
    for _ in 0..6000 {
        if shared()? + FREED < full {
            return Ok(());
        }
        sleep(Duration::from_millis(10));
    }
    Err(format!("{} kB of {full} are left", shared()?))
}
