//! The reference: libc epoll, edge-triggered, one recv and one send for what is passed on. It
//! pairs connections as they come and moves bytes. No HTTP, no WebSocket, no JSON, no limits.
//!
//! A connection whose first bytes are an HTTP request gets 330 bytes back, as an upgrade does,
//! without a look at what it says.

#![allow(unsafe_code)]

use std::net::TcpListener;
use std::os::fd::AsRawFd;

/// The argument that makes this program the reference.
pub(crate) const WORD: &str = "--be-the-reference";
/// Bytes of the answer to an HTTP request: those of the product's.
pub(crate) const ANSWER_BYTES: usize = 330;

const BUFFER_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;

/// Serves until it is killed.
pub(crate) fn serve() {
    let listener = switchboard::sys::sockets::listen(
        &["127.0.0.1:0".parse().expect("an address")],
        switchboard::sys::sockets::ListenOptions {
            shards: 1,
            backlog: 65_535,
            send_buffer_bytes: Some(65_536),
            steer_to: None,
        },
    )
    .expect("a port")
    .remove(0)
    .remove(0);
    switchboard::sys::descriptors::raise_limit().expect("descriptors");
    eprintln!("listening on {}", listener.local_addr().expect("an address"));
    run(&listener);
}

fn watch(epoll: i32, fd: i32) {
    let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI;
    let mut event = libc::epoll_event { events: (interest | libc::EPOLLET) as u32, u64: fd as u64 };
    // SAFETY: `event` is valid for the call, which reads it.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
}

fn run(listener: &TcpListener) {
    // SAFETY: it takes no pointers.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    watch(epoll, listener.as_raw_fd());
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let mut buffer = vec![0u8; BUFFER_BYTES];
    let mut partner: Vec<i32> = Vec::new();
    let mut single = None;
    let answer = [b'x'; ANSWER_BYTES];
    loop {
        // SAFETY: `events` has room for as many as are asked for.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, -1) };
        for event in &events[..count.max(0) as usize] {
            let fd = event.u64 as i32;
            if fd == listener.as_raw_fd() {
                accept(epoll, fd, &mut partner, &mut single);
            } else if event.events & libc::EPOLLIN as u32 != 0 {
                // SAFETY: `buffer` is valid for its length.
                let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), BUFFER_BYTES, 0) };
                if got <= 0 {
                    // SAFETY: the descriptor is this program's own, and not used again.
                    unsafe { libc::close(fd) };
                    continue;
                }
                let got = got as usize;
                let (to, bytes) = if buffer.starts_with(b"GET ") {
                    (fd, &answer[..])
                } else {
                    (partner[fd as usize], &buffer[..got])
                };
                // SAFETY: `bytes` is valid for its length.
                unsafe { libc::send(to, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
            }
        }
    }
}

fn accept(epoll: i32, listener: i32, partner: &mut Vec<i32>, single: &mut Option<i32>) {
    loop {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: without an address to fill in there are no pointers.
        let fd =
            unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        if fd < 0 {
            return;
        }
        if partner.len() <= fd as usize {
            partner.resize(fd as usize + 1, -1);
        }
        match single.take() {
            None => *single = Some(fd),
            Some(other) => {
                partner[fd as usize] = other;
                partner[other as usize] = fd;
            }
        }
        watch(epoll, fd);
    }
}
