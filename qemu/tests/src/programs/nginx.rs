// SPDX-License-Identifier: GPL-2.0

//! nginx with Debian's configuration, which listens on 0.0.0.0:80 and [::]:80, and curl.

use super::*;

pub fn run(world: &World) -> Outcome {
    for place in &world.contexts {
        place.write("var/www/html/index.html", place.name)?;
        place.run(&["nginx"])?;
    }
    for place in &world.contexts {
        for address in [place.ipv4, &format!("[{}]", place.ipv6)] {
            same("from the host", world.host.curl(address), place.name)?;
        }
        for address in ["localhost", LO, "[::1]", place.ipv4] {
            same("from inside", place.curl(address), place.name)?;
        }
    }
    let [one, two] = &world.contexts;
    same("from one to two", one.curl(two.ipv4), two.name)?;
    let by_name = format!("[{}]", one.ipv6);
    same("from two to one", two.curl(&by_name), one.name)?;
    for address in [LO, "[::1]", HOST] {
        refused("the host's", world.host.curl(address), "curl: (7)")?;
    }
    // Who came, as nginx saw it.
    let log = one.read("var/log/nginx/access.log")?;
    let peers: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let expected = [A, A6, LO6, LO, LO6, A, B6];
    equal("those who came to one", peers.as_slice(), &expected)
}
