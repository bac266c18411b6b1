//! Reads `/proc`: which processes there are, how much memory they have, and who listens at which port. What cannot be read is
//! left out.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

/// The most processes that are looked at.
const MAX_PROCESSES: usize = 16_384;

/// The most descriptors of a process that are looked at.
const MAX_DESCRIPTORS: usize = 65_536;

/// The state of a TCP socket that listens, as `/proc/net/tcp` has it.
const LISTENS: &str = "0A";

/// Returns each process with its process group.
pub(super) fn processes() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let with_group = |pid: u32| Some((pid, group(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?));
    pids.take(MAX_PROCESSES).filter_map(with_group).collect()
}

/// Reads the process group of `/proc/PID/stat` (`proc_pid_stat(5)`).
fn group(stat: &str) -> Option<u32> {
    // The name stands in parentheses and may contain blanks and parentheses itself: the last parenthesis ends it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// Returns the resident memory of a process in bytes.
pub(super) fn resident(pid: u32) -> Option<u64> {
    resident_of(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns the command line of a process.
pub(super) fn command(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    line.trim().to_owned()
}

/// Returns the addresses at which processes listen, each with the process, as far as it may be known. Stops at `end`.
pub(super) fn listeners(processes: &[(u32, u32)], end: Instant) -> Vec<(SocketAddr, Option<u32>)> {
    let mut sockets = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        sockets.extend(text.lines().filter_map(listening));
    }
    let mut wanted: HashSet<u64> = sockets.iter().map(|(_, inode)| *inode).collect();
    let mut owners: HashMap<u64, u32> = HashMap::new();
    for (pid, _) in processes {
        if wanted.is_empty() || Instant::now() >= end {
            break;
        }
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for descriptor in descriptors.take(MAX_DESCRIPTORS) {
            let inode = fs::read_link(descriptor.path()).ok().and_then(|to| inode(to.to_str()?));
            if let Some(inode) = inode.filter(|inode| wanted.remove(inode)) {
                owners.insert(inode, *pid);
            }
        }
    }
    sockets.into_iter().map(|(address, inode)| (address, owners.get(&inode).copied())).collect()
}

/// Reads the inode of a socket from what the link of a descriptor leads to.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Reads the address and the inode of a line of `/proc/net/tcp` or `/proc/net/tcp6`, if its socket listens.
fn listening(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != LISTENS {
        return None;
    }
    let (address, port) = local.rsplit_once(':')?;
    // Each four bytes of an address are a number as this machine keeps it.
    let word = |at: usize| u32::from_str_radix(address.get(8 * at..8 * at + 8)?, 16).ok();
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[4 * at..4 * at + 4].copy_from_slice(&word(at)?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?), inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_behind_a_name_with_blanks_and_parentheses() {
        assert_eq!(group("12 (a) b (c) S 1 77 77 0 -1"), Some(77));
        assert_eq!(group("12 (cut"), None);
        assert_eq!(group(""), None);
    }

    #[test]
    fn the_memory_of_a_process_is_read_in_bytes() {
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t    1024 kB\nVmData: 5 kB\n"), Some(1024 * 1024));
        assert_eq!(resident_of("Name:\tkthreadd\n"), None, "a thread of the kernel has none");
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_socket_that_listens_is_read_with_its_address_and_inode() {
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 x";
        assert_eq!(listening(v4), Some(("127.0.0.1:8080".parse().unwrap(), 4242)));
        let v6 = "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A \
                  00000000:00000000 00:00000000 00000000     0        0 7 1 x";
        assert_eq!(listening(v6), Some(("[::1]:80".parse().unwrap(), 7)));
        let connected = v4.replace(" 0A ", " 01 ");
        for line in [&*connected, "  sl  local_address rem_address   st", "", "1: :1F90 x 0A 0 0 0 0 0 1"] {
            assert_eq!(listening(line), None, "{line}");
        }
        assert_eq!((inode("socket:[77]"), inode("pipe:[77]")), (Some(77), None));
    }

    #[test]
    fn this_process_is_found_with_its_memory_and_the_port_at_which_it_listens() {
        let all = processes();
        let own = std::process::id();
        assert!(all.iter().any(|(pid, _)| *pid == own));
        assert!(resident(own).unwrap() > 0);
        assert!(!command(own).is_empty());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let end = Instant::now() + std::time::Duration::from_secs(60);
        assert!(listeners(&all, end).contains(&(address, Some(own))));
    }
}
