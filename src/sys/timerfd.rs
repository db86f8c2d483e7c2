//! A timer that a poll can wait for with a precision of microseconds; the timeout of epoll_wait(2) is
//! in milliseconds. Owned by the thread that polls.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A timerfd (timerfd_create(2)). If it is registered edge-triggered, it need not be read: setting it
/// again discards an expiration that was not read.
#[derive(Debug)]
pub struct TimerFd(OwnedFd);

impl TimerFd {
    /// A timer that is not set.
    ///
    /// # Errors
    /// When no descriptor is free.
    pub fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: the call takes no pointers.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call just made the descriptor, so nothing else owns it.
        Ok(TimerFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Lets it expire once, `after` from now. This replaces an earlier setting.
    ///
    /// # Errors
    /// The error of timerfd_settime(2); none is expected.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let mut time = libc::itimerspec { it_interval: never, it_value: never };
        time.it_value.tv_sec = libc::time_t::try_from(after.as_secs()).unwrap_or(i32::MAX.into());
        // A value of zero would disarm the timer.
        time.it_value.tv_nsec = libc::c_long::from(after.subsec_nanos()).max(1);
        let fd = self.0.as_raw_fd();
        // SAFETY: `time` is a live itimerspec, and a null pointer means that the old setting is not wanted.
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
    fn wakes_a_poll_each_time_it_is_set() {
        let mut poll = Poll::new().unwrap();
        let timer = TimerFd::new().unwrap();
        let fd = timer.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(3), Interest::READABLE).unwrap();
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            timer.set(Duration::from_micros(200)).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(3)]);
        }
    }
}
