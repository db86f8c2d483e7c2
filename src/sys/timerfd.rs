//! An alarm clock that a poll can wait for, precise to the microsecond, where the timeout of
//! epoll_wait(2) is in milliseconds. Owned by the thread that polls.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A timerfd (timerfd_create(2)). Registered edge-triggered it need never be read: setting it
/// again forgets what it had to tell.
#[derive(Debug)]
pub struct TimerFd(OwnedFd);

impl TimerFd {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When there is no descriptor left for it.
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was made just now and nobody else has it.
        Ok(TimerFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it ring once, `after` from now; an earlier setting is forgotten.
    ///
    /// # Errors
    /// What timerfd_settime(2) reports; nothing is known that could go wrong.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let mut time = libc::itimerspec { it_interval: never, it_value: never };
        time.it_value.tv_sec = libc::time_t::try_from(after.as_secs()).unwrap_or(i32::MAX.into());
        // All zero would disarm it.
        time.it_value.tv_nsec = libc::c_long::from(after.subsec_nanos()).max(1);
        let fd = self.0.as_raw_fd();
        // SAFETY: `time` is a live itimerspec, and a null pointer asks for no old setting.
        let outcome =
            unsafe { libc::timerfd_settime(fd, 0, &raw const time, std::ptr::null_mut()) };
        if outcome != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};

    #[test]
    fn it_wakes_a_poll_as_often_as_it_is_set() {
        let mut poll = Poll::new().unwrap();
        let alarm = TimerFd::new().unwrap();
        let fd = alarm.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(3), Interest::READABLE).unwrap();
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            alarm.set(Duration::from_micros(200)).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(3)]);
        }
    }
}
