// SPDX-License-Identifier: GPL-2.0

//! `make analyzer`: a `rust-project.json` for `kmod/`, which cargo does not build. The kernel's own script writes it, in the
//! Debian root; what is left to do is to say where the same files are on the host.

use crate::{kernel, step};
use anyhow::{Context, Result};
use serde_json::{json, Value};
use std::{env, fs, path::Path, process::ExitCode};

/// Below `target/`, where neither git nor a package sees it. Paths in it are relative to it.
const FILE: &str = "target/analyzer/rust-project.json";

/// The module's sources, seen from there.
const KMOD: &str = "../../kmod";

/// A path as it is on the host.
fn on_host(path: &str, made: &kernel::Analyzed, root: &str) -> String {
    let below = |folder: &Path| {
        Path::new(path)
            .strip_prefix(folder)
            .ok()
            .map(Path::to_path_buf)
    };
    if let Some(rest) = below(&made.module) {
        // Its own sources are those of the checkout.
        format!("{KMOD}/{}", rest.display())
    } else if let Some(rest) = below(Path::new(kernel::PLACE)) {
        step::on_host(&made.kernel.join(rest))
    } else if path.starts_with("/usr/") {
        format!("{root}{path}")
    } else {
        step::on_host(Path::new(path))
    }
}

/// Changes all paths.
fn translate(value: &mut Value, change: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) if text.starts_with('/') => *text = change(text),
        Value::Array(all) => all.iter_mut().for_each(|one| translate(one, change)),
        Value::Object(all) => all.values_mut().for_each(|one| translate(one, change)),
        _ => {}
    }
}

/// Writes it.
pub fn run() -> Result<ExitCode> {
    let made = kernel::analyzer()?;
    let root = env::var("VSERVER_HOST_ROOT").context("qemu/bootstrap.sh starts the runner")?;
    let text = fs::read_to_string(made.module.join("rust-project.json"))?;
    let mut project: Value = serde_json::from_str(&text)?;
    translate(&mut project, &|path| on_host(path, &made, &root));
    // bindings.rs includes what bindgen makes in a build; that is in the product of one.
    let bindings = step::on_host(&made.bindings);
    for one in project["crates"].as_array_mut().into_iter().flatten() {
        if one["display_name"] == "vserver_main" {
            one["env"]["VSERVER_BINDINGS"] = json!(bindings);
        }
    }
    let file = Path::new("/src").join(FILE);
    fs::create_dir_all(file.parent().context("it is in a folder")?)?;
    fs::write(&file, format!("{project:#}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("{FILE}");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_host() {
        let made = kernel::Analyzed {
            module: "/cache/analyzer-1".into(),
            kernel: "/cache/kernel-stock-2".into(),
            bindings: "/cache/kmod-3/bindings_generated.rs".into(),
        };
        let mut value = json!({
            "crates": [{ "root_module": "/cache/analyzer-1/vserver_main.rs", "cfg": ["CONFIG_NET"] }],
            "dirs": ["/kernel/build/rust", "/usr/lib/rustlib", "/cache/kernel-source-4/rust"],
        });
        translate(&mut value, &|path| on_host(path, &made, "/r"));
        assert_eq!(
            value["crates"][0]["root_module"],
            "../../kmod/vserver_main.rs"
        );
        assert_eq!(value["crates"][0]["cfg"][0], "CONFIG_NET");
        assert_eq!(
            value["dirs"][0],
            step::on_host(Path::new("/cache/kernel-stock-2/build/rust"))
        );
        assert_eq!(value["dirs"][1], "/r/usr/lib/rustlib");
    }
}
