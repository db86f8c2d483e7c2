//! Who may connect: how many connections there may be, in all and from one address.

pub mod admission;
