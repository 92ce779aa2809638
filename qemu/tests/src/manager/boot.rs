// SPDX-License-Identifier: GPL-2.0

//! `vservers`, and names that stand for several.

use super::*;

pub const ORDER: Test = test("manager::boot", 300, order);
pub const SEVERAL: Test = test("manager::several", 300, several);

const CALLS: &str = "/tmp/manager-boot";

/// Three with an order of their own and one that is not started at boot.
fn four() -> Result<[Vserver; 4], String> {
    let _ = fs::remove_file(CALLS);
    let make = |name, priority: &str| {
        let vserver = Vserver::new(name, "busybox", crate::inet::A, priority)?;
        configure(name, "sh", &format!("echo $1 $2 >>{CALLS}\n"))?;
        Ok::<_, String>(vserver)
    };
    Ok([
        make("box-last", "ONBOOT=yes\nPRIORITY=200")?,
        make("box-first", "ONBOOT=yes\nPRIORITY=5")?,
        make("box-same", "ONBOOT=yes\nPRIORITY=200")?,
        make("other", "")?,
    ])
}

/// The names for which an event was, in order.
fn events(event: &str) -> Vec<String> {
    let text = fs::read_to_string(CALLS).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            line.strip_prefix(event)?
                .strip_prefix(' ')
                .map(str::to_string)
        })
        .collect()
}

fn order() -> Outcome {
    with_vservers(|| {
        let [last, first, same, other] = four()?;
        let before = Machine::now()?;
        let said = ends(1, &["vservers", "status"])?;
        contains(&said, &["box-first stopped", "other     stopped"])?;
        let said = ends(0, &["vservers", "start"])?;
        for vserver in [&last, &first, &same] {
            equal(vserver.name, vserver.running(), Ok(true))?;
            contains(&said, &[&format!("{}: started (", vserver.name)])?;
        }
        equal("not at boot", other.running(), Ok(false))?;
        equal(
            "first",
            events("pre-start").first().map(String::as_str),
            Some("box-first"),
        )?;
        equal(
            "ready before the next",
            events("post-start").first().map(String::as_str),
            Some("box-first"),
        )?;
        ends(0, &["vservers", "status"])?;
        // What runs is left alone.
        equal("again", ends(0, &["vservers", "start"])?.as_str(), "")?;
        // All that runs is stopped, in the reverse order.
        other.start(&[])?;
        ends(0, &["vservers", "--silent", "--jobs", "2", "stop"])?;
        equal(
            "last",
            events("post-stop").last().map(String::as_str),
            Some("box-first"),
        )?;
        for vserver in [&last, &first, &same, &other] {
            equal(vserver.name, vserver.running(), Ok(false))?;
        }
        // One that cannot be started does not stop the others, and is told.
        configure("box-first", "conf", "S_NICE=90\n")?;
        let said = ends(1, &["vservers", "start", "box-first", "box-same"])?;
        contains(
            &said,
            &[
                "box-first: /etc/vservers/box-first.conf",
                "S_NICE",
                "box-same: started",
            ],
        )?;
        ends(0, &["vservers", "stop"])?;
        before.until_again()
    })
}

fn several() -> Outcome {
    with_vservers(|| {
        let all = four()?;
        let before = Machine::now()?;
        let said = ends(0, &["vserver", "box-f*", "other", "start"])?;
        contains(&said, &["box-first: started (", "other: started ("])?;
        let said = ends(1, &["vserver", "*", "running"])?;
        equal(
            "running",
            said.as_str(),
            "Server box-first is running\nServer box-last is not running\n\
             Server box-same is not running\nServer other is running\n",
        )?;
        let said = ends(0, &["vserver", "box-first", "other", "exec", "hostname"])?;
        equal(
            "exec",
            said.as_str(),
            "== box-first\nbox-first\n\n== other\nother\n",
        )?;
        let said = ends(1, &["vserver", "nobody*", "stop"])?;
        contains(&said, &["no vserver is called like \"nobody*\""])?;
        let said = ends(2, &["vserver", "*", "enter"])?;
        contains(&said, &["\"enter\" is for one vserver at a time"])?;
        ends(0, &["vserver", "*", "stop"])?;
        for vserver in &all {
            equal(vserver.name, vserver.running(), Ok(false))?;
        }
        before.until_again()
    })
}
