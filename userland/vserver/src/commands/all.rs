// SPDX-License-Identifier: GPL-2.0

//! The list of all commands.

use crate::commands::attributes::Setattr;
use crate::commands::attributes::Showattr;
use crate::commands::barrier::Barrier;
use crate::commands::capchroot::Capchroot;
use crate::commands::chbind::Chbind;
use crate::commands::chcontext::Chcontext;
use crate::commands::info::Info;
use crate::commands::list::List;
use crate::commands::newvserver::Newvserver;
use crate::commands::reducecap::Reducecap;
use crate::commands::server::build::Build;
use crate::commands::server::chkconfig::Chkconfig;
use crate::commands::server::clone::Clone;
use crate::commands::server::console::Console;
use crate::commands::server::delete::Delete;
use crate::commands::server::edit::Edit;
use crate::commands::server::enter::Enter;
use crate::commands::server::exec::Exec;
use crate::commands::server::export::Export;
use crate::commands::server::import::Import;
use crate::commands::server::logs::Logs;
use crate::commands::server::rename::Rename;
use crate::commands::server::restart::Restart;
use crate::commands::server::running::IsRunning;
use crate::commands::server::service::Service;
use crate::commands::server::show::Show;
use crate::commands::server::start::Start;
use crate::commands::server::status::Status;
use crate::commands::server::stop::Stop;
use crate::commands::server::suexec::Suexec;
use crate::commands::several::Several;
use crate::commands::unload::Unload;
use crate::commands::vdu::Vdu;
use crate::commands::vkill::Vkill;
use crate::commands::vps::Vps;
use crate::commands::vpstree::Vpstree;
use crate::commands::vserver_stat::VserverStat;
use crate::commands::vservers::Vservers;
use crate::commands::vtop::Vtop;
use crate::commands::Verb;
use clap::Subcommand;

/// One of them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Build(Build),
    Clone(Clone),
    Rename(Rename),
    Delete(Delete),
    Export(Export),
    Import(Import),
    Newvserver(Newvserver),
    Vdu(Vdu),
    Start(Start),
    Stop(Stop),
    Restart(Restart),
    Running(IsRunning),
    Status(Status),
    Enter(Enter),
    Exec(Exec),
    Suexec(Suexec),
    Service(Service),
    Chkconfig(Chkconfig),
    Console(Console),
    Logs(Logs),
    Show(Show),
    Edit(Edit),
    List(List),
    Vservers(Vservers),
    #[command(skip)]
    Several(Several),
    Barrier(Barrier),
    Capchroot(Capchroot),
    Chbind(Chbind),
    Chcontext(Chcontext),
    Reducecap(Reducecap),
    Vps(Vps),
    Vpstree(Vpstree),
    Vtop(Vtop),
    Vkill(Vkill),
    VserverStat(VserverStat),
    Showattr(Showattr),
    Setattr(Setattr),
    Info(Info),
    Unload(Unload),
}

impl Command {
    /// What it does.
    pub(crate) fn verb(&self) -> &dyn Verb {
        match self {
            Self::Build(verb) => verb,
            Self::Clone(verb) => verb,
            Self::Rename(verb) => verb,
            Self::Delete(verb) => verb,
            Self::Export(verb) => verb,
            Self::Import(verb) => verb,
            Self::Newvserver(verb) => verb,
            Self::Vdu(verb) => verb,
            Self::Start(verb) => verb,
            Self::Stop(verb) => verb,
            Self::Restart(verb) => verb,
            Self::Running(verb) => verb,
            Self::Status(verb) => verb,
            Self::Enter(verb) => verb,
            Self::Exec(verb) => verb,
            Self::Suexec(verb) => verb,
            Self::Service(verb) => verb,
            Self::Chkconfig(verb) => verb,
            Self::Console(verb) => verb,
            Self::Logs(verb) => verb,
            Self::Show(verb) => verb,
            Self::Edit(verb) => verb,
            Self::List(verb) => verb,
            Self::Vservers(verb) => verb,
            Self::Several(verb) => verb,
            Self::Barrier(verb) => verb,
            Self::Capchroot(verb) => verb,
            Self::Chbind(verb) => verb,
            Self::Chcontext(verb) => verb,
            Self::Reducecap(verb) => verb,
            Self::Vps(verb) => verb,
            Self::Vpstree(verb) => verb,
            Self::Vtop(verb) => verb,
            Self::Vkill(verb) => verb,
            Self::VserverStat(verb) => verb,
            Self::Showattr(verb) => verb,
            Self::Setattr(verb) => verb,
            Self::Info(verb) => verb,
            Self::Unload(verb) => verb,
        }
    }
}
