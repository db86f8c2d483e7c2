//! The reference: edge-triggered epoll with libc, one `recv` and one `send` for each relayed message.
//! It pairs connections in the order of their arrival and moves bytes. It has no HTTP, WebSocket,
//! JSON or limits.
//!
//! It answers an HTTP request with 330 bytes, the length of the server's answer to an upgrade, and
//! does not parse the request.

#![allow(unsafe_code)]

use std::net::TcpListener;
use std::os::fd::AsRawFd;

/// The argument that makes this program the reference.
pub(crate) const ARGUMENT: &str = "--be-the-reference";
/// Length of the answer to an HTTP request, the same as that of the server.
pub(crate) const ANSWER_BYTES: usize = 330;

const BUFFER_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;

/// Runs until it is killed.
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
    // SAFETY: `event` is valid during the call, which reads it.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
}

fn run(listener: &TcpListener) {
    // SAFETY: the call takes no pointers.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    watch(epoll, listener.as_raw_fd());
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let mut buffer = vec![0u8; BUFFER_BYTES];
    let mut partner: Vec<i32> = Vec::new();
    let mut single = None;
    let answer = [b'x'; ANSWER_BYTES];
    loop {
        // SAFETY: `events` has room for `EVENTS` events.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, -1) };
        for event in &events[..count.max(0) as usize] {
            let fd = event.u64 as i32;
            if fd == listener.as_raw_fd() {
                accept(epoll, fd, &mut partner, &mut single);
            } else if event.events & libc::EPOLLIN as u32 != 0 {
                // SAFETY: `buffer` is valid for its length.
                let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), BUFFER_BYTES, 0) };
                if got <= 0 {
                    // SAFETY: the descriptor belongs to this program and is not used again.
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
        // SAFETY: the pointers are null, so the call writes no address.
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
