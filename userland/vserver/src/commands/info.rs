// SPDX-License-Identifier: GPL-2.0

//! `vserver info`: what the loaded kernel module is and can do.

use super::Verb;
use crate::columns;
use crate::columns::Align;
use crate::columns::Column;
use crate::exit_codes;
use clap::Parser;
use libvserver::uapi;
use libvserver::Device;
use libvserver::Flags;
use libvserver::Lane;
use serde_json::json;
use serde_json::Value;
use std::io;
use std::io::Write;

/// Show what the loaded kernel module is and can do
#[derive(Debug, Parser)]
#[command(name = "info", max_term_width = 100)]
pub(crate) struct Info {
    /// Print JSON
    #[arg(long)]
    json: bool,
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

fn write_text(out: &mut impl Write, info: &uapi::Info) -> io::Result<()> {
    let flags = Flags::from_bits_truncate(info.flags_supported);
    writeln!(out, "lane          {}", lane_name(info))?;
    writeln!(out, "ABI version   {}", info.abi_version)?;
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

fn to_json(info: &uapi::Info) -> Value {
    let table = columns::to_json("lanes", &TABLE.iter().collect::<Vec<_>>(), &lanes(info));
    json!({
        "lane": lane_name(info),
        "abi_version": info.abi_version,
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

impl Verb for Info {
    fn run(&self) -> anyhow::Result<u8> {
        let device = Device::open()?;
        let mut out = io::stdout().lock();
        if self.json {
            columns::write_json(&mut out, &to_json(device.info()))?;
        } else {
            write_text(&mut out, device.info())?;
        }
        out.flush()?;
        Ok(exit_codes::SUCCESS)
    }
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
        write_text(&mut out, &INFO).unwrap();
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
        let json = to_json(&INFO);
        assert_eq!(json["hooks"]["attached"], 30);
        assert_eq!(json["flags_supported"], json!(["lock", "nproc"]));
        assert_eq!(json["lanes"][1]["used"], true);
        assert_eq!(json["features"], json!(["addresses", "fakeinit"]));
    }

    #[test]
    fn each_feature_has_a_name() {
        let of = |features| super::features(&uapi::Info { features, ..INFO });
        assert_eq!(of(7), ["addresses", "fakeinit", "orphans"]);
        assert_eq!(of(0), [""; 0]);
    }
}
