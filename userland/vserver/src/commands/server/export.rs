// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME export`: a vserver as one file.

use super::super::Verb;
use super::delete::is_running;
use crate::announce::warn;
use crate::exit_codes;
use crate::server::creation::companion;
use crate::server::creation::Work;
use crate::server::creation::COMPANIONS;
use crate::server::Server;
use anyhow::bail;
use anyhow::Context;
use clap::Parser;
use libvserver::config;
use libvserver::tree::Compression;
use libvserver::tree::Folder;
use libvserver::tree::Packer;
use libvserver::tree::Statistics;
use std::fs;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::IsTerminal;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// Where the tree is in an export.
pub(crate) const ROOT: &str = "root";

/// Where the configuration is, as `vserver.conf`, `vserver.sh` and `vserver.fstab`.
pub(crate) const CONFIGURATION: &str = "configuration";

/// Write a vserver to one file
///
/// A tar archive with its files and its configuration, for "import". The ending of the file tells how it is compressed:
/// .tar, .tar.gz, .tar.xz or .tar.zst, which is taken without one too. The file gets its name when it is whole.
#[derive(Debug, Parser)]
#[command(
    name = "export",
    max_term_width = 100,
    override_usage = "vserver [--silent] NAME export [FILE]"
)]
pub(crate) struct Export {
    /// Do not show what is done
    #[arg(long)]
    silent: bool,

    /// The vserver
    name: String,

    /// The file; without one NAME.tar.zst, "-" is the standard output
    file: Option<PathBuf>,
}

impl Verb for Export {
    fn run(&self) -> anyhow::Result<u8> {
        let (server, _) = Server::existing(&self.name)?;
        let _lock = server.lock()?;
        if is_running(&server)? {
            warn(
                "vserver",
                format_args!(
                    "{} is running: what it is writing at this time is exported as it is",
                    self.name
                ),
            );
        }
        let usual = || PathBuf::from(format!("{}.tar.zst", self.name));
        let file = self.file.clone().unwrap_or_else(usual);
        let mut work = Work::begin(self.silent)?.on_stderr();
        if file == Path::new("-") {
            if io::stdout().is_terminal() {
                bail!("the standard output is a terminal; give a file");
            }
            let statistics = pack(&server, io::stdout(), Compression::Zstd, &mut work)?;
            work.report(&statistics)?;
            return Ok(exit_codes::SUCCESS);
        }
        let compression = Compression::of_name(&file).unwrap_or(Compression::Zstd);
        let mut new = file.clone().into_os_string();
        new.push(".new");
        let new = PathBuf::from(new);
        // Never what somebody else has put there.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context(format!("cannot replace {}", new.display()));
            }
            _ => {}
        }
        let out = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .with_context(|| format!("cannot make {}", new.display()))?;
        let written = pack(&server, &out, compression, &mut work).and_then(|statistics| {
            out.sync_all()?;
            fs::rename(&new, &file).with_context(|| format!("cannot make {}", file.display()))?;
            Ok(statistics)
        });
        let statistics = match written {
            Ok(statistics) => statistics,
            Err(error) => {
                let _ = fs::remove_file(&new);
                return Err(error);
            }
        };
        work.report(&statistics)?;
        work.say(&format!("{} is in {}", self.name, file.display()))?;
        Ok(exit_codes::SUCCESS)
    }
}

fn pack(
    server: &Server,
    out: impl Write,
    compression: Compression,
    work: &mut Work,
) -> anyhow::Result<Statistics> {
    let root = Folder::open_itself(&server.root())?;
    let out = compression.writer(BufWriter::new(out))?;
    let mut packer = Packer::new(out);
    let inside = |ending: &str| Path::new(CONFIGURATION).join(format!("vserver.{ending}"));
    let file = config::file(&server.name);
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    packer.file(&inside("conf"), &text)?;
    for ending in COMPANIONS {
        let path = companion(&server.name, ending);
        match fs::read(&path) {
            Ok(content) => packer.file(&inside(ending), &content)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
        }
    }
    work.show(None);
    packer.tree(Path::new(ROOT), &root, &mut |statistics, path| {
        work.step(statistics, path)
    })?;
    let (out, statistics) = packer.finish()?;
    out.finish()?.flush()?;
    Ok(statistics)
}
