// SPDX-License-Identifier: GPL-2.0

//! `chbind`, and `chcontext --ip`.

use super::*;
use serde_json::json;
use std::net::{TcpListener, UdpSocket};

pub const TESTS: &[Test] = &[
    test("userland::chbind_says_the_addresses", 30, says),
    test("userland::chbind_json", 30, json),
    test("userland::chbind_names_of_devices_and_hosts", 60, names),
    test("userland::chbind_broadcast_address", 30, broadcast),
    test("userland::chbind_ends_as_the_command", 30, ends),
    test("userland::chbind_only_narrows", 60, narrows),
    test("userland::chbind_warns_of_what_no_device_has", 30, warns),
    test("userland::chbind_errors_change_nothing", 60, errors),
    test("userland::chbind_who_holds_a_port", 60, who),
    test("userland::chcontext_ip", 60, chcontext),
];

/// Addresses of the host while a test runs: three with the label lo:web, two of them of IPv4.
struct Addresses;

const IPV6: &str = "fd09::5";

impl Addresses {
    const ALL: [&[&str]; 3] = [
        &["10.9.0.5/24", "broadcast", "10.9.0.200", "label", "lo:web"],
        &["10.9.0.6/24", "label", "lo:web"],
        &["fd09::5/64"],
    ];

    fn new() -> Result<Self, String> {
        for address in Self::ALL {
            let line = [&["ip", "address", "add"], address, &["dev", "lo"]].concat();
            run_words(0, &line)?.good()?;
        }
        Ok(Self)
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        for address in Self::ALL {
            let _ = run_words(0, &["ip", "address", "del", address[0], "dev", "lo"]);
        }
    }
}

const STATUS: &str = "grep ipv4root: /proc/self/status";

fn says() -> Outcome {
    let _addresses = Addresses::new()?;
    for program in ["chbind", "vserver chbind"] {
        for user in [0, USER] {
            let two = format!("{program} --ip 10.9.0.6 --ip 10.9.0.5/24 {STATUS}");
            run_as(user, &two)?.printed(
                "ipv4root is now 10.9.0.6 10.9.0.5\nipv4root: 10.9.0.6/32 10.9.0.5/24\n",
            )?;
            run_as(user, &format!("{program} --silent --ip 10.9.0.5 {STATUS}"))?
                .printed("ipv4root: 10.9.0.5/32\n")?;
        }
    }
    // IPv6 on the same line, after IPv4; each once.
    run(&format!(
        "chbind --ip {IPV6}/64 --ip 10.9.0.5/255.255.255.0 --ip {IPV6} true"
    ))?
    .printed(&format!("ipv4root is now 10.9.0.5 {IPV6}\n"))?;
    // A whole network.
    run("chbind --ip 10.9.0.0/24 --ip fd09::/64 true")?
        .printed("ipv4root is now 10.9.0.0/24 fd09::/64\n")?;
    // The context stays.
    run("chbind --silent --ip 10.9.0.5 grep s_context /proc/self/status")?
        .printed("s_context: 0\n")?;
    // This process is none the wiser.
    run(STATUS)?.printed("ipv4root: 0\n")
}

fn json() -> Outcome {
    let _addresses = Addresses::new()?;
    let mut told = run(&format!(
        "chbind --json --ip 10.9.0.5/24 --ip {IPV6} --ip 10.9.1.0/24 true"
    ))?
    .json()?;
    let loopback = told["loopback"].take();
    let loopback = loopback.as_str().ok_or("no loopback")?;
    ensure(
        loopback,
        loopback.starts_with("127.") && loopback != "127.0.0.1",
    )?;
    let expected = json!({
        "addresses": [
            { "address": "10.9.0.5", "prefix": 24, "whole": false },
            { "address": IPV6, "prefix": 128, "whole": false },
            { "address": "10.9.1.0", "prefix": 24, "whole": true },
        ],
        "broadcast": "10.9.0.255",
        "loopback": null,
    });
    equal("JSON", told, expected)?;
    let none = run("chbind --json --ip 10.9.0.5 true")?.json()?;
    equal("broadcast", &none["broadcast"], &Value::Null)?;
    // One line, so that what the command prints can be told apart.
    let ran = run("chbind --json --ip 10.9.0.5 echo done")?;
    equal("lines", ran.good()?.lines().count(), 2)?;
    equal("last line", ran.out.lines().last(), Some("done"))
}

/// Host names while a test runs.
struct Hosts;

impl Hosts {
    fn new(text: &str) -> Result<Self, String> {
        fs::write("/etc/hosts", text).map_err(words)?;
        // As on Debian: all lines with a name count.
        fs::write("/etc/host.conf", "multi on\n").map_err(words)?;
        Ok(Self)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = fs::remove_file("/etc/hosts");
        let _ = fs::remove_file("/etc/host.conf");
    }
}

fn names() -> Outcome {
    let _addresses = Addresses::new()?;
    run(&format!("chbind --ip lo:web {STATUS}"))?
        .printed("ipv4root is now 10.9.0.5 10.9.0.6\nipv4root: 10.9.0.5/24 10.9.0.6/24\n")?;
    // A device has all its IPv4 and its global IPv6 addresses, here ::1 not.
    let ran = run_as(USER, "chbind --ip lo true")?;
    let told: Vec<&str> = ran.good()?.trim_end().split(' ').collect();
    for address in ["127.0.0.1", "10.9.0.5", "10.9.0.6", IPV6] {
        ensure(&format!("{address} in {told:?}"), told.contains(&address))?;
    }
    ensure(&format!("{told:?}"), !told.contains(&"::1"))?;
    let _hosts =
        Hosts::new("10.9.0.5 web.example web\n10.9.0.6 both.example\nfd09::5 both.example\n")?;
    for name in ["web", "web.example"] {
        run(&format!("chbind --ip {name} {STATUS}"))?
            .printed("ipv4root is now 10.9.0.5\nipv4root: 10.9.0.5/32\n")?;
    }
    run_as(USER, "chbind --ip both.example true")?
        .printed(&format!("ipv4root is now 10.9.0.6 {IPV6}\n"))
}

fn broadcast() -> Outcome {
    let _addresses = Addresses::new()?;
    for (options, broadcast) in [
        ("--ip 10.9.0.5", "0"),
        ("--ip 10.9.0.5/24", "10.9.0.255"),
        ("--ip lo:web", "10.9.0.200"),
        ("--ip 10.9.0.6/16 --bcast lo:web", "10.9.0.200"),
        ("--ip 10.9.0.6/16 --bcast 10.9.0.127", "10.9.0.127"),
        ("--ip lo:web --bcast 0.0.0.0", "0"),
    ] {
        let line = format!("chbind --silent {options} grep ipv4root_bcast /proc/self/status");
        run(&line)?
            .printed(&format!("ipv4root_bcast: {broadcast}\n"))
            .map_err(|error| format!("{options}: {error}"))?;
    }
    Ok(())
}

fn ends() -> Outcome {
    let _addresses = Addresses::new()?;
    for code in [0, 1, 3, 77, 125, 255] {
        let script = format!("exit {code}");
        let ran = run_words(
            0,
            &[
                "chbind", "--silent", "--ip", "10.9.0.5", "sh", "-c", &script,
            ],
        )?;
        equal("exit code", ran.code, code)?;
    }
    run("chbind --silent --ip 10.9.0.5 echo --ip x -- y")?.printed("--ip x -- y\n")?;
    run("chbind --silent --ip 10.9.0.5 -- echo --silent")?.printed("--silent\n")?;
    run("chbind --silent --ip 10.9.0.5 /nonexistent/program")?
        .complained(127, &["/nonexistent/program: command not found"])?;
    run("chbind --silent --ip 10.9.0.5 /etc/passwd")?.complained(126, &["not executable"])
}

fn narrows() -> Outcome {
    let _addresses = Addresses::new()?;
    let two = format!("chbind --silent --ip 10.9.0.5/24 --ip 10.9.0.6/24 --ip {IPV6}");
    for user in [0, USER] {
        // Root inside is not root of the host.
        let own = "chcontext --silent";
        run_as(user, &format!("{two} {own} chbind --ip 10.9.0.6 {STATUS}"))?
            .printed("ipv4root is now 10.9.0.6\nipv4root: 10.9.0.6/32\n")?;
        run_as(user, &format!("{own} {two} chbind --ip {IPV6} true"))?
            .printed(&format!("ipv4root is now {IPV6}\n"))?;
        for (options, part) in [
            ("--ip 10.9.0.7", "10.9.0.7 is not among the addresses held"),
            ("--ip 10.9.0.5 --ip 10.9.0.7", "10.9.0.7 is not among"),
            ("--ip 10.9.0.0/24", "10.9.0.0/24 is not among"),
            ("--ip fd09::6", "fd09::6 is not among"),
            (
                "--ip 10.9.0.5 --bcast 10.9.0.127",
                "10.9.0.127 is not the broadcast address held",
            ),
        ] {
            run_as(user, &format!("{own} {two} chbind {options} true"))?
                .complained(125, &[part, "addresses already held", "root in context 0"])
                .map_err(|error| format!("{options}: {error}"))?;
        }
    }
    // A broadcast address that nobody has asked for is no widening: it stays as it is.
    let script = "grep ipv4root_bcast /proc/self/status";
    for (first, second, broadcast) in [
        ("10.9.0.5", "10.9.0.5/24", "0"),
        ("10.9.0.5/24", "10.9.0.5/16", "10.9.0.255"),
        ("10.9.0.5/24", "10.9.0.5", "0"),
    ] {
        let line = format!("chbind --silent --ip {first} chbind --silent --ip {second} {script}");
        run_as(USER, &line)?.printed(&format!("ipv4root_bcast: {broadcast}\n"))?;
    }
    // A network can be narrowed to what is in it.
    run_as(
        USER,
        &format!("chbind --silent --ip 10.9.0.0/24 chbind --ip 10.9.0.6/24 {STATUS}"),
    )?
    .printed("ipv4root is now 10.9.0.6\nipv4root: 10.9.0.6/24\n")?;
    // An ordinary user of the host cannot set them anew; root can.
    let anew = format!("chbind --silent --ip 10.9.0.5 chbind --ip 10.9.0.6 {STATUS}");
    run_as(USER, &anew)?.complained(125, &["10.9.0.6 is not among the addresses held"])?;
    run(&anew)?.printed("ipv4root is now 10.9.0.6\nipv4root: 10.9.0.6/32\n")?;
    until_empty()
}

fn warns() -> Outcome {
    let _addresses = Addresses::new()?;
    let ran = run("chbind --ip 10.9.0.5 --ip 10.9.7.7/24 echo done")?;
    equal("exit code", ran.code, 0)?;
    equal(
        "output",
        ran.out.as_str(),
        "ipv4root is now 10.9.0.5 10.9.7.7\ndone\n",
    )?;
    equal(
        "warning",
        ran.err.as_str(),
        "chbind: warning: 10.9.7.7 is on no device of this host, or not ready, so nothing can use it; \
         add it with \"ip address add 10.9.7.7/24 dev DEVICE\"\n",
    )?;
    let ran = run("chcontext --silent --ip fd09::77 true")?;
    equal("exit code", ran.code, 0)?;
    for part in [
        "chcontext: warning: fd09::77 ",
        "ip address add fd09::77/128",
    ] {
        ensure(
            &format!("{:?} lacks {part:?}", ran.err),
            ran.err.contains(part),
        )?;
    }
    // Root of the host is told of what is, not of what he has seen before.
    run("chbind --silent --ip 10.9.0.5 chbind --ip 10.9.0.6 true")?
        .printed("ipv4root is now 10.9.0.6\n")
}

fn errors() -> Outcome {
    let _addresses = Addresses::new()?;
    let ran_file = "/tmp/must-not-run";
    for (line, part) in [
        ("chbind", "--ip"),
        ("chbind touch FILE", "--ip"),
        ("chbind --ip 10.9.0.5", "COMMAND"),
        (
            "chbind --ip 10.9.0.300 touch FILE",
            "\"10.9.0.300\" is not an IP address",
        ),
        (
            "chbind --ip 10.9.0.5/33 touch FILE",
            "0 to 32 bits or a mask",
        ),
        (
            "chbind --ip 10.9.0.5/255.0.255.0 touch FILE",
            "masks look like",
        ),
        ("chbind --ip fd09::5/129 touch FILE", "0 to 128 bits"),
        ("chbind --ip 0.0.0.0 touch FILE", "stands for any"),
        ("chbind --ip 224.0.0.1 touch FILE", "multicast"),
        ("chbind --ip ::ffff:10.9.0.5 touch FILE", "write it as IPv4"),
        (
            "chbind --ip 10.9.0.5 --bcast 127.0.0.1 touch FILE",
            "neither an IPv4 broadcast address nor a device",
        ),
        ("chbind --silent --json --ip 10.9.0.5 touch FILE", "--json"),
        ("chbind --who http", "1 to 65535"),
        ("chbind --who 80 touch FILE", "cannot be used with"),
        ("chcontext --bcast 10.9.0.255 touch FILE", "--ip"),
        ("chcontext --ip 10.9.0 touch FILE", "is not an IP address"),
    ] {
        run(&line.replace("FILE", ran_file))?
            .misused(part)
            .map_err(|error| format!("{line}: {error}"))?;
    }
    for (line, parts) in [
        (
            "chbind --ip nosuchhost touch FILE",
            &[
                "\"nosuchhost\" is no address, no device of this host and no known host name",
                "ip address",
                "/etc/hosts",
            ][..],
        ),
        (
            "chbind --ip lo:nosuchlabel touch FILE",
            &["\"lo:nosuchlabel\" is no address, no device"],
        ),
        (
            "chbind --ip 10.9.0.5 --bcast nodevice touch FILE",
            &["\"nodevice\" is neither", "such as 10.0.0.255"],
        ),
    ] {
        for user in [0, USER] {
            run_as(user, &line.replace("FILE", ran_file))?
                .complained(125, &[&["chbind: "], parts].concat())
                .map_err(|error| format!("{line}: {error}"))?;
        }
    }
    ensure("nothing ran", !Path::new(ran_file).exists())?;
    run(STATUS)?.printed("ipv4root: 0\n")?;
    until_empty()
}

/// Pid and context.
type Holder = (Option<i64>, Option<i64>);

/// Whom `--who` names to root.
fn holders(port: &str) -> Result<Vec<Holder>, String> {
    let ran = run(&format!("chbind --json --who {port}"))?;
    let told: Value = serde_json::from_str(&ran.out).map_err(words)?;
    let rows = told["holders"].as_array().ok_or("no holders")?;
    equal("exit code", ran.code, i32::from(rows.is_empty()))?;
    Ok(rows
        .iter()
        .map(|row| (row["pid"].as_i64(), row["ctx"].as_i64()))
        .collect())
}

fn who() -> Outcome {
    let me = Some(i64::from(std::process::id()));
    let tcp = TcpListener::bind("0.0.0.0:0").map_err(words)?;
    let port = tcp.local_addr().map_err(words)?.port();
    equal("tcp", holders(&port.to_string())?, vec![(me, Some(0))])?;
    equal("tcp", holders(&format!("{port}/tcp"))?, vec![(me, Some(0))])?;
    equal("udp", holders(&format!("{port}/udp"))?, vec![])?;
    let ran = run(&format!("chbind --who {port}"))?;
    let rows: Vec<&str> = ran.good()?.lines().collect();
    ensure(
        &format!("{rows:?}"),
        rows.len() == 2
            && rows[0] == "PROTO ADDRESS         CTX CONFINED   UID     PID COMMAND"
            && rows[1].starts_with(&format!("tcp   0.0.0.0:{port}"))
            && rows[1].ends_with(&format!("{} guest-tests", std::process::id())),
    )?;
    // A user cannot see whose socket it is, and is told so.
    let ran = run_as(USER, &format!("chbind --who {port}"))?;
    equal("exit code", ran.code, 0)?;
    ensure(&ran.err, ran.err.contains("ask as root on the host"))?;
    drop(tcp);
    let ran = run(&format!("chbind --who {port}"))?;
    equal("exit code", ran.code, 1)?;
    equal(
        "nobody",
        ran.out,
        format!("nobody in sight holds port {port} on 0.0.0.0 or ::\n"),
    )?;

    let udp = UdpSocket::bind("[::]:0").map_err(words)?;
    let port = udp.local_addr().map_err(words)?.port();
    equal(
        "udp6",
        holders(&format!("{port}/udp"))?,
        vec![(me, Some(0))],
    )?;
    drop(udp);

    // One address is not all of them.
    let local = TcpListener::bind("127.0.0.1:0").map_err(words)?;
    let port = local.local_addr().map_err(words)?.port();
    equal("local", holders(&port.to_string())?, vec![])?;

    // In another context, which root of the host does not see else.
    let sitter = Sitter::new(300, 0, || {
        let socket = TcpListener::bind("0.0.0.0:5300").map_err(words)?;
        std::mem::forget(socket);
        Ok(())
    })?;
    let pid = Some(i64::from(sitter.pid));
    equal("context", holders("5300")?, vec![(pid, Some(300))])?;
    drop(sitter);
    until_empty()
}

fn chcontext() -> Outcome {
    let _addresses = Addresses::new()?;
    let status = "grep -E ^(s_context|ipv4root): /proc/self/status";
    run(&format!(
        "chcontext --ctx 300 --ip 10.9.0.5/24 --ip {IPV6} {status}"
    ))?
    .printed(&format!(
        "New security context is 300\nipv4root is now 10.9.0.5 {IPV6}\n\
         s_context: 300\nipv4root: 10.9.0.5/24 {IPV6}/128\n"
    ))?;
    run(&format!(
        "chcontext --silent --ctx 300 --ip lo:web {status}"
    ))?
    .printed("s_context: 300\nipv4root: 10.9.0.5/24 10.9.0.6/24\n")?;
    let ran = run_as(USER, "chcontext --ip 10.9.0.5 true")?;
    equal(
        "last line",
        ran.good()?.lines().nth(1),
        Some("ipv4root is now 10.9.0.5"),
    )?;
    run("chcontext --silent --ip 10.9.0.5/24 --bcast 10.9.0.77 grep ipv4root_bcast /proc/self/status")?
        .printed("ipv4root_bcast: 10.9.0.77\n")?;
    // In the background, too.
    run("chcontext --ctx 300 --ip 10.9.0.5 --disconnect true")?
        .printed("New security context is 300\nipv4root is now 10.9.0.5\n")?;
    until_empty()?;

    // A new context has them for all that join it.
    let one = "chcontext --silent --ctx 300";
    let script = format!("{one} {status}");
    run(&format!(
        "{one} --ip 10.9.0.5 --ip 10.9.0.6 chcontext --silent --ctx -2 {status}"
    ))?
    .printed("s_context: 300\nipv4root: 10.9.0.5/32 10.9.0.6/32\n")?;
    let hold = "/tmp/chcontext-ip-hold";
    let _ = fs::remove_file(hold);
    run_words(0, &["mkfifo", hold])?.good()?;
    let sit = format!("exec >/dev/null 2>&1; cat {hold}");
    run_words(
        0,
        &[
            "chcontext",
            "--silent",
            "--ctx",
            "300",
            "--ip",
            "10.9.0.5",
            "--ip",
            "10.9.0.6",
            "--disconnect",
            "sh",
            "-c",
            &sit,
        ],
    )?
    .printed("")?;
    let outcome = joining(&script);
    fs::write(hold, "").map_err(words)?;
    let _ = fs::remove_file(hold);
    outcome?;
    until_empty()
}

/// Processes that join context 300, which has 10.9.0.5 and 10.9.0.6.
fn joining(script: &str) -> Outcome {
    run(script)?.printed("s_context: 300\nipv4root: 10.9.0.5/32 10.9.0.6/32\n")?;
    // Who joins may ask for a part of the context's, and is told when it is none.
    run(&format!("chcontext --ctx 300 --ip 10.9.0.6 {STATUS}"))?.printed(
        "New security context is 300\nipv4root is now 10.9.0.6\nipv4root: 10.9.0.6/32\n",
    )?;
    run("chcontext --ctx 300 --ip 10.9.0.7 true")?.complained(
        125,
        &["chcontext: 10.9.0.7 is not among the addresses held"],
    )
}
