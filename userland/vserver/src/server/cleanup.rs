// SPDX-License-Identifier: GPL-2.0

//! What is left of a vserver whose supervisor has died.

use super::network;
use super::vserver::Server;
use crate::announce::warn;

impl Server {
    /// The same for one that is to be no more: without the kernel module there is nothing.
    pub(crate) fn clean_up_if_possible(&self) {
        if let Err(error) = self.clean_up() {
            warn("vserver", format_args!("{error:#}"));
        }
    }

    /// Takes away what is left of one whose supervisor has died, its addresses on devices included.
    pub(crate) fn clean_up(&self) -> anyhow::Result<()> {
        network::take_down(self)?;
        self.forget();
        Ok(())
    }
}
