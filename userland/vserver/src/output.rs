// SPDX-License-Identifier: GPL-2.0

//! The options of every command that shows a table: as JSON, without its heading, with other columns.

use crate::columns;
use crate::columns::Column;
use clap::Args;
use std::fmt::Debug;
use std::io;
use std::io::Write;
use std::marker::PhantomData;

/// What differs between these commands.
pub(crate) trait Shown: Clone + Debug + Send + Sync + 'static {
    /// The help of `--json`.
    const JSON: &'static str = "Print JSON; times are in seconds";

    /// The help of `--no-legend`.
    const NO_LEGEND: &'static str = "Print no heading";

    /// The help of `-o`.
    const COLUMNS: &'static str =
        "Print only these columns, in this order; with + before the first, these after the \
                                   usual ones";

    /// A name for `-o`, as it is when it is right.
    fn column_name(name: &str) -> Result<String, String>;
}

/// How a table is printed.
#[derive(Debug, Args)]
pub(crate) struct Output<S: Shown> {
    #[arg(long, help = S::JSON)]
    pub(crate) json: bool,

    #[arg(long, conflicts_with = "json", help = S::NO_LEGEND)]
    pub(crate) no_legend: bool,

    #[arg(
        short = 'o', value_name = "COLUMNS", value_delimiter = ',', value_parser = S::column_name,
        help = S::COLUMNS
    )]
    pub(crate) columns: Option<Vec<String>>,

    #[arg(skip)]
    _of: PhantomData<S>,
}

impl<S: Shown> Default for Output<S> {
    fn default() -> Self {
        Self {
            json: false,
            no_legend: false,
            columns: None,
            _of: PhantomData,
        }
    }
}

impl<S: Shown> Output<S> {
    /// Prints the table; `name` is what its rows are called in JSON.
    pub(crate) fn write<R>(
        &self,
        out: &mut impl Write,
        name: &str,
        columns: &[&Column<R>],
        rows: &[R],
    ) -> io::Result<()> {
        if self.json {
            columns::write_json(out, &columns::to_json(name, columns, rows))
        } else {
            columns::write_fitted(out, columns, rows, !self.no_legend)
        }
    }
}
