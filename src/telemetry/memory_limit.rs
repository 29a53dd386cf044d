//! How much memory this process may use: what the machine has, or what a cgroup leaves of it.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Linux mounts its control groups.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Bytes of the machine, or of the tightest control group around this process. `None` where neither can be read.
pub fn usable_memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| machine_bytes(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| limit_bytes(&fs::read_to_string(file).ok()?));
    limits.chain(machine).min()
}

/// `MemTotal:       16384 kB`
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// The files that may hold a limit: those of the process' own group and of every group around it, of version 2 and 1. Inside
/// of a container the own group is mounted at the root.
fn limit_files(own_groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in own_groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => (PathBuf::from(CGROUP_ROOT), "memory.max"),
            controllers if controllers.split(',').any(|name| name == "memory") => {
                (Path::new(CGROUP_ROOT).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let own = Path::new(path.trim_start_matches('/'));
        files.extend(own.ancestors().map(|group| root.join(group).join(name)));
    }
    files
}

/// A number of bytes; `max` is no limit.
fn limit_bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_it_has() {
        assert_eq!(machine_bytes("MemTotal:       16384 kB\nMemFree:  1 kB\n"), Some(16 << 20));
        for text in ["", "MemFree: 1 kB", "MemTotal: x kB", "MemTotal: 18446744073709551615 kB", "MemTotal: 5 MB"] {
            assert_eq!(machine_bytes(text), None, "{text}");
        }
        assert!(usable_memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn every_group_around_the_process_may_have_a_limit() {
        let files =
            |text: &str| -> Vec<String> { limit_files(text).iter().map(|file| file.display().to_string()).collect() };
        assert_eq!(
            files("0::/system.slice/quiver.service\n"),
            [
                "/sys/fs/cgroup/system.slice/quiver.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            files("12:cpu,cpuacct:/a\n5:memory:/a\nnonsense\n"),
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        for (text, expected) in [("max\n", None), ("0\n", None), ("", None), ("1048576\n", Some(1 << 20))] {
            assert_eq!(limit_bytes(text), expected, "{text:?}");
        }
    }
}
