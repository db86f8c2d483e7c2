//! Settings that keep a connection's packets and its shard on one CPU: the kernel's choice among the
//! listeners of an address, and busy polling. Called at start.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

/// One instruction of a classic BPF program (linux/filter.h).
type BpfInstruction = libc::sock_filter;

fn instruction(code: u32, jump_true: u8, jump_false: u8, k: u32) -> BpfInstruction {
    BpfInstruction { code: code as u16, jt: jump_true, jf: jump_false, k }
}

/// A program that returns the number of a shard for the CPU on which it runs: the shard that is pinned
/// to this CPU by [`super::affinity::AllowedCpus::pin_current_thread`], or for any other CPU its
/// number modulo the number of shards.
fn program(cpus: &[usize], shards: usize) -> Vec<BpfInstruction> {
    let this_cpu = (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32;
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, this_cpu)];
    for (shard, cpu) in cpus.iter().take(shards).enumerate() {
        // On any other CPU the next instruction is skipped.
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, *cpu as u32));
        program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, shard as u32));
    }
    program.push(instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, shards as u32));
    program.push(instruction(libc::BPF_RET | libc::BPF_A, 0, 0, 0));
    program
}

/// Lets the kernel choose among the listeners of one address by the CPU that received the packet
/// (`SO_ATTACH_REUSEPORT_CBPF`, socket(7), Linux ≥ 4.5), instead of by a hash. `listener` is any of
/// them. They must have begun to listen in the order of the shards, and `cpus` are the CPUs that the
/// shards are pinned to.
///
/// # Errors
/// The error of setsockopt(2).
pub fn steer_by_cpu(listener: &impl AsRawFd, cpus: &[usize], shards: usize) -> io::Result<()> {
    let mut instructions = program(cpus, shards);
    let length = u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_mut_ptr() };
    let (value, size) = ((&raw const program).cast(), size_of::<libc::sock_fprog>());
    let (fd, name) = (listener.as_raw_fd(), libc::SO_ATTACH_REUSEPORT_CBPF);
    // SAFETY: `program` and the instructions that it points to live for the whole call, and
    // `size` is its size.
    let outcome =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, name, value, size as libc::socklen_t) };
    if outcome != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Packets taken in one poll: the most that needs no privilege (`NAPI_POLL_WEIGHT`).
const BUDGET: u16 = 64;

/// Lets a thread that blocks in this poll first poll the network card for `micros` microseconds, before
/// it sleeps until the card's interrupt (ioctl_eventpoll(2), Linux ≥ 6.9).
///
/// # Errors
/// `ENOTTY` on older kernels; `EOPNOTSUPP` on those built without busy polling.
pub fn busy_poll(poll: &impl AsRawFd, micros: u32) -> io::Result<()> {
    let params = libc::epoll_params {
        busy_poll_usecs: micros,
        busy_poll_budget: BUDGET,
        prefer_busy_poll: 0,
        __pad: 0,
    };
    // SAFETY: `params` is live for the whole call, which only reads it.
    let outcome = unsafe { libc::ioctl(poll.as_raw_fd(), libc::EPIOCSPARAMS, &raw const params) };
    if outcome != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interprets the program for a CPU.
    fn run(program: &[BpfInstruction], cpu: u32) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let BpfInstruction { code, jt, jf, k } = program[at];
            at += 1;
            match u32::from(code) {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => accumulator = cpu,
                code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => {
                    at += usize::from(if accumulator == k { jt } else { jf });
                }
                code if code == libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K => accumulator %= k,
                code if code == libc::BPF_RET | libc::BPF_K => return k,
                code if code == libc::BPF_RET | libc::BPF_A => return accumulator,
                code => panic!("{code:#x}"),
            }
        }
    }

    #[test]
    fn maps_every_cpu_to_a_shard_and_a_pinned_shards_cpu_to_that_shard() {
        for (cpus, shards) in [(vec![0, 1], 2), (vec![2, 3, 6, 7], 4), (vec![4, 9, 12], 2)] {
            let program = program(&cpus, shards);
            for (shard, cpu) in cpus.iter().take(shards).enumerate() {
                assert_eq!(run(&program, *cpu as u32), shard as u32, "CPU {cpu} of {cpus:?}");
            }
            for cpu in 0..64 {
                assert!((run(&program, cpu) as usize) < shards, "CPU {cpu} of {cpus:?}");
            }
        }
    }

    #[test]
    fn the_longest_program_is_within_the_kernels_limit() {
        // BPF_MAXINSNS of linux/bpf_common.h.
        assert!(program(&vec![0; 1024], crate::limits::MAX_SHARDS).len() <= 4096);
    }

    #[test]
    fn sets_the_busy_poll_time_of_a_poll() {
        let poll = mio::Poll::new().unwrap();
        match busy_poll(&poll, 50) {
            Ok(()) => {}
            // An older kernel, or one that was built without busy polling.
            Err(error) => {
                let code = error.raw_os_error();
                assert!(matches!(code, Some(libc::ENOTTY | libc::EOPNOTSUPP)), "{error}");
                return;
            }
        }
        let mut kept = libc::epoll_params {
            busy_poll_usecs: 0,
            busy_poll_budget: 0,
            prefer_busy_poll: 1,
            __pad: 0,
        };
        // SAFETY: `kept` is live and writable for the whole call.
        let outcome = unsafe { libc::ioctl(poll.as_raw_fd(), libc::EPIOCGPARAMS, &raw mut kept) };
        assert_eq!(outcome, 0);
        assert_eq!((kept.busy_poll_usecs, kept.busy_poll_budget), (50, BUDGET));
    }
}
