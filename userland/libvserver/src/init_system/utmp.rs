// SPDX-License-Identifier: GPL-2.0

//! Records of `/run/utmp`, as utmp(5) has them on machines of 64 bits.

/// Bytes of a record.
const SIZE: usize = 384;

/// What a record is about.
pub(super) const RUN_LEVEL: i16 = 1;
/// A process that init has started.
#[cfg(test)]
pub(super) const INIT_PROCESS: i16 = 5;
/// One that has ended.
pub(super) const DEAD_PROCESS: i16 = 8;

/// A record, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: i16,
    pub(super) pid: i32,
    pub(super) id: String,
}

/// All whole records.
pub(super) fn records(bytes: &[u8]) -> Vec<Record> {
    bytes
        .chunks_exact(SIZE)
        .map(|record| Record {
            kind: i16::from_ne_bytes([record[0], record[1]]),
            pid: i32::from_ne_bytes([record[4], record[5], record[6], record[7]]),
            id: String::from_utf8_lossy(&record[40..44])
                .trim_end_matches('\0')
                .to_owned(),
        })
        .collect()
}

/// The run level that has been entered: its letter is the lowest byte of the pid of that record.
pub(super) fn run_level(records: &[Record]) -> Option<char> {
    let record = records.iter().find(|record| record.kind == RUN_LEVEL)?;
    Some(char::from(record.pid.to_le_bytes()[0])).filter(char::is_ascii_alphanumeric)
}

#[cfg(test)]
pub(super) fn make(kind: i16, pid: i32, id: &str) -> Vec<u8> {
    let mut record = vec![0; SIZE];
    record[..2].copy_from_slice(&kind.to_ne_bytes());
    record[4..8].copy_from_slice(&pid.to_ne_bytes());
    record[40..40 + id.len()].copy_from_slice(id.as_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sysvinit_writes() {
        let mut bytes = make(DEAD_PROCESS, 2, "si");
        bytes.extend(make(RUN_LEVEL, 20018, "~~"));
        bytes.extend(make(INIT_PROCESS, 534, "l2"));
        bytes.extend([0; 17]);
        let records = records(&bytes);
        assert_eq!(records.len(), 3);
        assert_eq!(run_level(&records), Some('2'));
        assert_eq!(records[2].id, "l2");
        assert_eq!(run_level(&[]), None);
    }
}
