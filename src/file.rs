//! Reads files with a limit in bytes and without waiting. Other people name these files.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The maximum size of a file of certificates or of the AWS SDK, in bytes. Amazon RDS's bundle of
/// certificates has 170 kB, Mozilla's 220 kB.
pub(crate) const BYTES_MAX: u64 = 1 << 20;

/// Reads a regular file. A pipe could block forever, and a device has no end, so neither is opened.
///
/// # Errors
/// It cannot be read, is not a regular file, or has more than `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    check(path, bytes_max)?;
    let file = File::open(path)?;
    // The file may have been replaced in between.
    is_regular(&file.metadata()?)?;
    read_to_end(file, bytes_max)
}

/// Whether [`read`] would accept the file, as far as its metadata says.
///
/// # Errors
/// See [`read`].
pub(crate) fn check(path: &Path, bytes_max: u64) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    is_regular(&metadata)?;
    if metadata.len() > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
}

/// Reads any file that `path` names, including a pipe. For paths on the command line, where `<(…)` and
/// `/dev/stdin` are pipes and Ctrl-C ends the wait.
///
/// # Errors
/// It cannot be read or gives more than `bytes_max`.
pub(crate) fn read_or_wait(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    read_to_end(File::open(path)?, bytes_max)
}

/// The file system may report a wrong size: in /proc it is 0.
fn read_to_end(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max { Err(too_large(bytes_max)) } else { Ok(bytes) }
}

fn is_regular(metadata: &fs::Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file")),
    }
}

fn too_large(bytes_max: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("larger than {} KiB", bytes_max >> 10))
}
