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

/// The server as Debian packages it.
pub struct Server {
    /// Its major version, which is in the names of all its directories.
    pub version: String,
}

impl Server {
    /// Looks for it.
    pub fn find(place: &Place) -> Result<Self, String> {
        let version = fs::read_dir(place.root.join("etc/postgresql"))
            .map_err(words)?
            .find_map(|entry| entry.ok()?.file_name().into_string().ok())
            .ok_or("Debian's package has made no cluster")?;
        Ok(Self { version })
    }

    /// One of its programs, as its user.
    fn program<'a>(&self, path: &'a mut String, program: &str) -> [&'a str; 5] {
        *path = format!("/usr/lib/postgresql/{}/bin/{program}", self.version);
        let [user, group] = ["--reuid=postgres", "--regid=postgres"];
        ["setpriv", user, group, "--init-groups", path]
    }

    /// Starts it.
    pub fn start(&self, place: &Place, options: &[&str]) -> Outcome {
        let mut path = String::new();
        place.start(&[&self.program(&mut path, "postgres"), options].concat())
    }

    /// Stops the one that has these data.
    pub fn stop(&self, place: &Place, data: &str) -> Outcome {
        let mut path = String::new();
        let stop = ["stop", "-s", "-m", "fast", "-D", data];
        let command = [&self.program(&mut path, "pg_ctl")[..], &stop].concat();
        place.run(&command).map(drop)
    }
}

fn psql(place: &Place, address: &str, sql: &str) -> Result<String, String> {
    let to = format!("host={address} user=postgres connect_timeout=60");
    place.run(&["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, &to])
}

pub fn run(world: &World) -> Outcome {
    let [one, two] = &world.contexts;
    let told = format!("127.0.0.1, {}, {}", two.ipv4, two.ipv6);
    let server = Server::find(one)?;
    let cluster = format!("etc/postgresql/{}/main", server.version);
    for (place, listen) in [(one, "*"), (two, told.as_str())] {
        place.write(&format!("{cluster}/pg_hba.conf"), RULES)?;
        let made = ["install", "-d", "-opostgres", "/run/postgresql"];
        place.run(&made)?;
        let config = format!("-cconfig_file=/{cluster}/postgresql.conf");
        let listen = format!("-clisten_addresses={listen}");
        server.start(place, &[&config, &listen])?;
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
