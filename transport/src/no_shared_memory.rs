//! What stands for `shared_memory` on systems that have none: nothing can be made or taken.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use bytes::BufMut;

/// Memory that this process writes and another reads; there is none.
pub(crate) struct WrittenMemory(Infallible);

impl WrittenMemory {
    pub(crate) fn create(_bytes: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn write(&mut self, _at: usize, _bytes: &[u8]) {
        match self.0 {}
    }

    pub(crate) fn send_with(&self, _socket: impl AsFd, _words: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

/// Memory that another process writes and this one reads; there is none.
pub(crate) struct ReadMemory(Infallible);

impl ReadMemory {
    pub(crate) fn open(_file: &OwnedFd, _bytes: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn append_to<B: BufMut + ?Sized>(
        &self,
        _into: &mut B,
        _at: usize,
        _length: usize,
    ) -> io::Result<()> {
        match self.0 {}
    }
}

pub(crate) fn receive_with(_socket: impl AsFd, _words: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn prefer_huge_pages(_room: &mut Vec<u8>) {}
