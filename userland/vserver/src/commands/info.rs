// SPDX-License-Identifier: GPL-2.0

//! `vserver info`: what the loaded kernel module is and can do.

use super::Verb;
use crate::columns;
use crate::columns::Align;
use crate::columns::Column;
use crate::exit_codes;
use clap::Parser;
use libvserver::module;
use libvserver::module::Installed;
use libvserver::uapi;
use libvserver::Device;
use libvserver::Flags;
use libvserver::Kind;
use libvserver::Lane;
use serde_json::json;
use serde_json::Value;
use std::fs;
use std::io;
use std::io::Write;

/// Show what the loaded kernel module is and can do
///
/// And whether the installed one is another one. When none is loaded, the kernel's functions that live patches or other
/// modules have to themselves are named: the module is not loaded when it needs one of them.
#[derive(Debug, Parser)]
#[command(name = "info", max_term_width = 100)]
pub(crate) struct Info {
    /// Print JSON
    #[arg(long)]
    json: bool,

    /// List the hooks of the module instead, and whether each is attached. For root in context 0
    #[arg(long)]
    hooks: bool,
}

/// One lane, and whether it is the one in use.
struct Row {
    lane: Lane,
    in_use: bool,
}

const TABLE: [Column<Row>; 4] = [
    Column {
        name: "LANE",
        width: 8,
        align: Align::Left,
        help: "name",
        text: |row| row.lane.name().to_owned(),
        json: |row| row.lane.name().into(),
    },
    Column {
        name: "USED",
        width: 4,
        align: Align::Left,
        help: "whether it is in use",
        text: |row| if row.in_use { "yes" } else { "no" }.to_owned(),
        json: |row| row.in_use.into(),
    },
    Column {
        name: "ATTACHED-BY",
        width: 12,
        align: Align::Left,
        help: "how the module attaches to the kernel",
        text: |row| row.lane.attaches_by().to_owned(),
        json: |row| row.lane.attaches_by().into(),
    },
    Column {
        name: "KERNEL",
        width: 16,
        align: Align::Left,
        help: "the kernel it is for",
        text: |row| row.lane.kernel().to_owned(),
        json: |row| row.lane.kernel().into(),
    },
];

/// How the kernel comes to a hook, by name.
fn called_by(place: u32) -> &'static str {
    match place {
        uapi::HOOK_FUNCTION => "ftrace",
        uapi::HOOK_MEMBER => "static call",
        _ => "unknown",
    }
}

/// A text of the ABI, which ends with a NUL.
fn text_of(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

const HOOKS: [Column<uapi::HookInfo>; 5] = [
    Column {
        name: "NAME",
        width: 30,
        align: Align::Left,
        help: "the kernel's function, or the member of its vserver_ops",
        text: |hook| text_of(&hook.name),
        json: |hook| text_of(&hook.name).into(),
    },
    Column {
        name: "KIND",
        width: 14,
        align: Align::Left,
        help: "what the hook does, by the words of kmod/attach/hook.rs",
        text: |hook| text_of(&hook.kind),
        json: |hook| text_of(&hook.kind).into(),
    },
    Column {
        name: "ATTACHED",
        width: 8,
        align: Align::Left,
        help: "whether it is attached",
        text: |hook| if hook.attached != 0 { "yes" } else { "no" }.to_owned(),
        json: |hook| (hook.attached != 0).into(),
    },
    Column {
        name: "CALLED-BY",
        width: 11,
        align: Align::Left,
        help: "how the kernel comes to it",
        text: |hook| called_by(hook.place).to_owned(),
        json: |hook| called_by(hook.place).into(),
    },
    Column {
        name: "FILE",
        width: 22,
        align: Align::Left,
        help: "the source file below kmod/",
        text: |hook| text_of(&hook.file),
        json: |hook| text_of(&hook.file).into(),
    },
];

/// What the module can do in this lane, by name. Bits of a later release have none here.
const FEATURES: [(u64, &str); 3] = [
    (uapi::FEATURE_ADDRESSES, "addresses"),
    (uapi::FEATURE_FAKEINIT, "fakeinit"),
    (uapi::FEATURE_ORPHANS, "orphans"),
];

fn features(info: &uapi::Info) -> Vec<&'static str> {
    FEATURES
        .iter()
        .filter(|(bit, _)| info.features & bit != 0)
        .map(|(_, name)| *name)
        .collect()
}

fn lane_name(info: &uapi::Info) -> String {
    Lane::from_abi(info.lane).map_or_else(
        || format!("unknown ({})", info.lane),
        |lane| lane.name().to_owned(),
    )
}

fn lanes(info: &uapi::Info) -> Vec<Row> {
    Lane::ALL
        .into_iter()
        .map(|lane| Row {
            lane,
            in_use: Lane::from_abi(info.lane) == Some(lane),
        })
        .collect()
}

/// What a load of the installed module would bring; `None`: nothing is known of it.
fn of_installed(installed: &Installed) -> Option<String> {
    const RELOAD: &str =
        "\"vservers stop; vserver unload && modprobe vserver; vservers start\" loads it";
    match (installed.is_loaded?, installed.abi_version) {
        (true, _) => Some("the same".to_owned()),
        (false, Some(version)) => Some(format!("another build, ABI version {version}: {RELOAD}")),
        (false, None) => Some(format!("another build: {RELOAD}")),
    }
}

fn write_text(
    out: &mut impl Write,
    info: &uapi::Info,
    installed: Option<&Installed>,
) -> io::Result<()> {
    let flags = Flags::from_bits_truncate(info.flags_supported);
    writeln!(out, "lane          {}", lane_name(info))?;
    writeln!(out, "ABI version   {}", info.abi_version)?;
    if let Some(text) = installed.and_then(of_installed) {
        writeln!(out, "installed     {text}")?;
    }
    writeln!(
        out,
        "hooks         {} of {} attached",
        info.hooks_attached, info.hooks_total
    )?;
    writeln!(
        out,
        "contexts      {} alive, at most {}",
        info.contexts, info.contexts_max
    )?;
    writeln!(
        out,
        "numbers       {} to {} chosen, {} to {} handed out",
        uapi::CONTEXT_MIN,
        uapi::CONTEXT_DYNAMIC_MIN - 1,
        uapi::CONTEXT_DYNAMIC_MIN,
        uapi::CONTEXT_MAX
    )?;
    writeln!(out, "flags         {flags}")?;
    let features = match features(info) {
        names if names.is_empty() => "none".to_owned(),
        names => names.join(" "),
    };
    writeln!(out, "features      {features}")?;
    writeln!(out, "capabilities  {}", info.capabilities)?;
    writeln!(out)?;
    columns::write_text(out, &TABLE.iter().collect::<Vec<_>>(), &lanes(info), true)
}

fn to_json(info: &uapi::Info, installed: Option<&Installed>) -> Value {
    let table = columns::to_json("lanes", &TABLE.iter().collect::<Vec<_>>(), &lanes(info));
    json!({
        "lane": lane_name(info),
        "abi_version": info.abi_version,
        "installed": installed.map(|installed| json!({
            "path": installed.path,
            "abi_version": installed.abi_version,
            "is_loaded": installed.is_loaded,
        })),
        "hooks": { "attached": info.hooks_attached, "total": info.hooks_total },
        "contexts": { "alive": info.contexts, "max": info.contexts_max },
        "numbers": {
            "min": uapi::CONTEXT_MIN,
            "dynamic_min": uapi::CONTEXT_DYNAMIC_MIN,
            "max": uapi::CONTEXT_MAX,
        },
        "flags_supported": Flags::from_bits_truncate(info.flags_supported).names(),
        "capabilities": info.capabilities,
        "features": features(info),
        "lanes": table["lanes"],
    })
}

fn write_hooks(out: &mut impl Write, hooks: &[uapi::HookInfo], json: bool) -> io::Result<()> {
    let table: Vec<_> = HOOKS.iter().collect();
    if json {
        columns::write_json(out, &columns::to_json("hooks", &table, hooks))
    } else {
        columns::write_fitted(out, &table, hooks, true)
    }
}

impl Verb for Info {
    fn run(&self) -> anyhow::Result<u8> {
        let device = match Device::open() {
            Err(error) if error.kind() == Kind::NoModule => {
                let error = anyhow::Error::from(error);
                return Err(match taken() {
                    Some(what) => error.context(what),
                    None => error,
                });
            }
            device => device?,
        };
        if self.hooks {
            let hooks = device.hooks()?;
            let mut out = io::stdout().lock();
            write_hooks(&mut out, &hooks, self.json)?;
            out.flush()?;
            return Ok(exit_codes::SUCCESS);
        }
        let installed = module::installed();
        let mut out = io::stdout().lock();
        if self.json {
            columns::write_json(&mut out, &to_json(device.info(), installed.as_ref()))?;
        } else {
            write_text(&mut out, device.info(), installed.as_ref())?;
        }
        out.flush()?;
        Ok(exit_codes::SUCCESS)
    }
}

/// Where the kernel lists its functions that somebody is attached to.
const ATTACHED: [&str; 2] = [
    "/sys/kernel/tracing/enabled_functions",
    "/sys/kernel/debug/tracing/enabled_functions",
];

/// Live patches, a directory each.
const LIVE_PATCHES: &str = "/sys/kernel/livepatch";

/// No more functions are named.
const NAMED_MAX: usize = 8;

/// What stands in the way of loading the module, in words. A function of which the arguments or the way on are changed
/// (IPMODIFY) can be changed by one at a time, be it a live patch or this module.
fn taken() -> Option<String> {
    let list = ATTACHED
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    let functions = changed_functions(&list);
    if functions.is_empty() {
        return None;
    }
    let mut patches: Vec<String> = fs::read_dir(LIVE_PATCHES)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    patches.sort();
    let whose = match patches.is_empty() {
        true => "other modules change".to_owned(),
        false => format!("the live patch {} changes", patches.join(", ")),
    };
    let named = functions[..functions.len().min(NAMED_MAX)].join(", ");
    let more = match functions.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "{whose} functions of the kernel ({named}{more}), which the module cannot change as well: when it needs one of \
         them, loading it fails with \"Device or resource busy\""
    ))
}

/// Those of the list that somebody has for himself alone.
fn changed_functions(list: &str) -> Vec<&str> {
    list.lines()
        .filter_map(|line| {
            let (head, _) = line.split_once('\t').unwrap_or((line, ""));
            let mut words = head.split_ascii_whitespace();
            let name = words.next()?;
            words.any(|word| word == "I").then_some(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: uapi::Info = uapi::Info {
        abi_version: 1,
        lane: uapi::LANE_PATCHED,
        hooks_attached: 30,
        hooks_total: 32,
        contexts: 2,
        contexts_max: 65534,
        flags_supported: uapi::FLAG_LOCK | uapi::FLAG_NPROC,
        capabilities: 41,
        features: uapi::FEATURE_ADDRESSES | uapi::FEATURE_FAKEINIT | (1 << 63),
        reserved: [0; 3],
    };

    #[test]
    fn text() {
        let mut out = Vec::new();
        write_text(&mut out, &INFO, None).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
lane          patched
ABI version   1
hooks         30 of 32 attached
contexts      2 alive, at most 65534
numbers       2 to 49151 chosen, 49152 to 65535 handed out
flags         lock nproc
features      addresses fakeinit
capabilities  41

LANE     USED ATTACHED-BY  KERNEL
stock    no   ftrace       unmodified
patched  yes  static calls with the patches
"
        );
    }

    #[test]
    fn json() {
        let json = to_json(&INFO, None);
        assert_eq!(json["installed"], Value::Null);
        assert_eq!(json["hooks"]["attached"], 30);
        assert_eq!(json["flags_supported"], json!(["lock", "nproc"]));
        assert_eq!(json["lanes"][1]["used"], true);
        assert_eq!(json["features"], json!(["addresses", "fakeinit"]));
    }

    fn padded<const LEN: usize>(text: &str) -> [u8; LEN] {
        let mut padded = [0; LEN];
        padded[..text.len()].copy_from_slice(text.as_bytes());
        padded
    }

    fn hooks() -> [uapi::HookInfo; 2] {
        [
            uapi::HookInfo {
                name: padded("task_kill"),
                kind: padded("mediate_anyone"),
                file: padded("hooks/signal.rs"),
                place: uapi::HOOK_MEMBER,
                attached: 1,
                ..Default::default()
            },
            uapi::HookInfo {
                name: [b'x'; uapi::HOOK_NAME_LEN],
                kind: padded("wrap"),
                file: padded("pty.rs"),
                ..Default::default()
            },
        ]
    }

    #[test]
    fn hooks_as_text() {
        let mut out = Vec::new();
        write_hooks(&mut out, &hooks(), false).unwrap();
        let long = "x".repeat(uapi::HOOK_NAME_LEN);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "NAME KIND ATTACHED CALLED-BY FILE".to_owned(),
                "task_kill mediate_anyone yes static call hooks/signal.rs".to_owned(),
                format!("{long} wrap no ftrace pty.rs"),
            ]
        );
    }

    #[test]
    fn hooks_as_json() {
        let mut out = Vec::new();
        write_hooks(&mut out, &hooks(), true).unwrap();
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            json["hooks"][0],
            json!({
                "name": "task_kill",
                "kind": "mediate_anyone",
                "attached": true,
                "called-by": "static call",
                "file": "hooks/signal.rs",
            })
        );
        assert_eq!(json["hooks"][1]["attached"], false);
        assert_eq!(called_by(7), "unknown");
    }

    #[test]
    fn what_is_installed() {
        let of = |is_loaded, abi_version| {
            of_installed(&Installed {
                path: "/lib/modules/vserver.ko".into(),
                abi_version,
                is_loaded,
            })
        };
        assert_eq!(of(None, Some(2)), None);
        assert_eq!(of(Some(true), Some(1)).unwrap(), "the same");
        let text = of(Some(false), Some(2)).unwrap();
        assert!(text.starts_with("another build, ABI version 2: "), "{text}");
        assert!(text.contains("vserver unload"), "{text}");
    }

    #[test]
    fn functions_that_somebody_has_for_himself() {
        let list = "\
schedule (1)           \tramp: 0xffffffffc0204000 (function_trace_call+0x0/0x120) ->ftrace_ops_assist_func+0x0/0xf0
cmdline_proc_show (1) R I     \tM \ttramp: 0xffffffffc0200000 (klp_ftrace_handler+0x0/0x200)
do_init_module (1)   I
try_module_get (1) R   D   \ttramp: 0xffffffffc0302000 (bpf_trampoline+0x0/0x200)
";
        assert_eq!(
            changed_functions(list),
            ["cmdline_proc_show", "do_init_module"]
        );
        assert!(changed_functions("").is_empty());
    }

    #[test]
    fn each_feature_has_a_name() {
        let of = |features| super::features(&uapi::Info { features, ..INFO });
        assert_eq!(of(7), ["addresses", "fakeinit", "orphans"]);
        assert_eq!(of(0), [""; 0]);
    }
}
