// SPDX-License-Identifier: GPL-2.0

//! iperf3, whose server listens on one socket for IPv4 and IPv6, and connects that of UDP to who comes.

use super::*;

const AMOUNT: u64 = 1 << 20;

fn measure(from: &Place, source: &str, address: &str, options: &[&str]) -> Outcome {
    let command = ["iperf3", "-J", "-n", "1M", "-c", address];
    let what = format!("from {} to {address} {options:?}", from.name);
    let report = from.run(&[&command[..], options].concat())?;
    let report: Value =
        serde_json::from_str(&report).map_err(|error| format!("{what}: {error}: {report}"))?;
    let received = report["end"]["sum_received"]["bytes"].as_u64();
    // Datagrams may be lost when the receiver is late.
    let least = if options.is_empty() {
        AMOUNT
    } else {
        AMOUNT / 4
    };
    ensure(&format!("{what}: {report}"), received >= Some(least))?;
    let ends = &report["start"]["connected"][0];
    equal(&what, ends["remote_host"].as_str(), Some(address))?;
    equal(&what, ends["local_host"].as_str(), Some(source))
}

pub fn run(world: &World) -> Outcome {
    for place in &world.contexts {
        place.start(&["iperf3", "-s"])?;
    }
    let udp = ["-u", "-b", "20M"];
    for place in &world.contexts {
        place.until_listening(5201)?;
        for options in [&[][..], &udp] {
            for address in [place.ipv4, place.ipv6] {
                measure(&world.host, address, address, options)?;
            }
            measure(place, LO, LO, options)?;
        }
    }
    let [one, two] = &world.contexts;
    measure(one, one.ipv4, two.ipv4, &udp)?;
    let got = world.host.run(&["iperf3", "-c", LO]);
    refused("the host's", got, "Connection refused")
}
