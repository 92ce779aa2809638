// SPDX-License-Identifier: GPL-2.0

//! Times for people, in nine characters up to 999 days.

use std::time::Duration;

/// `1m02s50`, `3h04m05`, `12d03h04`: the two leading units, and what follows them without its
/// letter. Minutes are followed by hundredths of a second.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    if days > 0 {
        format!("{days}d{:02}h{:02}", hours % 24, minutes % 60)
    } else if hours > 0 {
        format!("{hours}h{:02}m{:02}", minutes % 60, seconds % 60)
    } else {
        format!(
            "{minutes}m{:02}s{:02}",
            seconds % 60,
            duration.subsec_millis() / 10
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ranges() {
        let text = |milliseconds| human(Duration::from_millis(milliseconds));
        assert_eq!(text(0), "0m00s00");
        assert_eq!(text(62_509), "1m02s50");
        assert_eq!(text(3_599_999), "59m59s99");
        assert_eq!(text(3_600_000), "1h00m00");
        assert_eq!(text(86_399_000), "23h59m59");
        assert_eq!(text(86_400_000), "1d00h00");
        assert_eq!(text(90_061_000 * 1000), "1042d08h56");
    }
}
