// SPDX-License-Identifier: GPL-2.0

//! Redis on all addresses, and redis-benchmark from both sides at once.

use super::*;

fn cli(place: &Place, address: &str, words: &[&str]) -> Result<String, String> {
    place.run(&[&["redis-cli", "-e", "-h", address], words].concat())
}

pub fn run(world: &World) -> Outcome {
    for place in &world.contexts {
        place.start(&[
            "redis-server",
            "/etc/redis/redis.conf",
            "--bind",
            "* -::*",
            "--protected-mode",
            "no",
            "--daemonize",
            "no",
            "--logfile",
            "",
        ])?;
    }
    for place in &world.contexts {
        place.until_listening(6379)?;
        same("set", cli(place, LO, &["set", "who", place.name]), "OK")?;
    }
    // All at once, each writing its own random keys.
    for place in &world.contexts {
        for (from, address) in [(place, LO), (&world.host, place.ipv4)] {
            from.start(&[
                "sh",
                "-c",
                &format!(
                    "redis-benchmark -h {address} -n 400 -c 10 -t set,get,lpush --csv \
                     >/tmp/benchmark-{name}.csv 2>&1; echo $? >/tmp/benchmark-{name}",
                    name = place.name,
                ),
            ])?;
        }
    }
    for place in &world.contexts {
        for from in [place, &world.host] {
            let status = format!("tmp/benchmark-{}", place.name);
            let start = Instant::now();
            while from.read(&status).map_or(true, |text| text.is_empty()) {
                ensure("a benchmark does not end", start.elapsed() < START)?;
                sleep(Duration::from_millis(200));
            }
            let report = from.read(&format!("{status}.csv"))?;
            same(&report, from.read(&status), "0\n")?;
            for command in ["SET", "GET", "LPUSH"] {
                ensure(&report, report.contains(&format!("\"{command}\"")))?;
            }
        }
    }
    for place in &world.contexts {
        let Place {
            name, ipv4, ipv6, ..
        } = place;
        for address in [ipv4, ipv6] {
            let got = cli(&world.host, address, &["get", "who"]);
            same("from the host", got, name)?;
        }
        for address in [LO, LO6] {
            same("from inside", cli(place, address, &["get", "who"]), name)?;
        }
        // The lists of both benchmarks, and nobody else's.
        same("pushed", cli(place, LO, &["llen", "mylist"]), "800")?;
        let client = cli(&world.host, ipv4, &["client", "info"])?;
        let seen = client.contains(&format!(" addr={ipv4}:"))
            && client.contains(&format!(" laddr={ipv4}:6379 "));
        ensure(&format!("the client as seen: {client}"), seen)?;
    }
    let got = cli(&world.host, LO, &["get", "who"]);
    refused("the host's", got, "Connection refused")
}
