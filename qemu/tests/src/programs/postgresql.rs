// SPDX-License-Identifier: GPL-2.0

//! PostgreSQL with the cluster that Debian's package makes: one listens on all addresses, the other on those
//! that it is told; both have 127.0.0.1:5432.

use super::*;

const RULES: &str = "\
local all all trust
host all all 127.0.0.1/32 trust
host all all ::1/128 trust
host all all 10.77.0.0/16 trust
host all all fd77::/16 trust
";

/// Where the connection ends, and who the database is.
const WHO: &str =
    "select host(inet_server_addr()), inet_server_port(), host(inet_client_addr()), who from it";

fn psql(place: &Place, address: &str, sql: &str) -> Result<String, String> {
    let to = format!("host={address} user=postgres connect_timeout=60");
    place.run(&["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, &to])
}

pub fn run(world: &World) -> Outcome {
    let [one, two] = &world.contexts;
    let told = format!("127.0.0.1, {}, {}", two.ipv4, two.ipv6);
    let version = fs::read_dir(one.root.join("etc/postgresql"))
        .map_err(words)?
        .find_map(|entry| entry.ok()?.file_name().into_string().ok())
        .ok_or("Debian's package has made no cluster")?;
    let cluster = format!("etc/postgresql/{version}/main");
    for (place, listen) in [(one, "*"), (two, told.as_str())] {
        place.write(&format!("{cluster}/pg_hba.conf"), RULES)?;
        let made = ["install", "-d", "-opostgres", "/run/postgresql"];
        place.run(&made)?;
        place.start(&[
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
            &format!("/usr/lib/postgresql/{version}/bin/postgres"),
            &format!("-cconfig_file=/{cluster}/postgresql.conf"),
            &format!("-clisten_addresses={listen}"),
        ])?;
    }
    for place in &world.contexts {
        place.until_listening(5432)?;
        place.run(&["sh", "-c", "until pg_isready -q; do sleep 0.2; done"])?;
        let name = place.name;
        psql(
            place,
            LO,
            &format!("create table it as select '{name}' as who"),
        )?;
    }
    for place in &world.contexts {
        let Place {
            name, ipv4, ipv6, ..
        } = place;
        for address in [ipv4, ipv6] {
            let expected = format!("{address}|5432|{address}|{name}");
            same("host", psql(&world.host, address, WHO), &expected)?;
        }
        let expected = format!("{LO}|5432|{LO}|{name}");
        same("inside", psql(place, LO, WHO), &expected)?;
    }
    let expected = format!("{B}|5432|{A}|two");
    same("from one to two", psql(one, two.ipv4, WHO), &expected)?;
    let expected = format!("{LO6}|5432|{LO6}|one");
    same("inside, IPv6", psql(one, LO6, WHO), &expected)?;
    refused("not told", psql(two, LO6, WHO), "Connection refused")?;
    refused(
        "the host's",
        psql(&world.host, LO, WHO),
        "Connection refused",
    )
}
