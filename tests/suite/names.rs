//! Names that one child process resolves as a file says, by nss_wrapper: nothing of the machine is changed.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What a process takes for `/etc/hosts`.
pub(crate) struct Names {
    folder: tempfile::TempDir,
    changes: std::cell::Cell<u64>,
}

impl Names {
    /// No name.
    pub(crate) fn new() -> Self {
        let names = Self { folder: tempfile::tempdir().unwrap(), changes: 0.into() };
        names.set(&[]);
        names
    }

    /// From now on these names have these addresses, and no other name has any.
    pub(crate) fn set(&self, names: &[(&str, &str)]) {
        let text: String = names.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        // The wrapper reads the file again when its time, in seconds, is another.
        self.changes.set(self.changes.get() + 1);
        let time = SystemTime::now() + Duration::from_secs(self.changes.get() * 60);
        File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    /// What the environment of the process must have.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let file = self.file().to_str().unwrap().to_owned();
        [("LD_PRELOAD", library().to_str().unwrap().to_owned()), ("NSS_WRAPPER_HOSTS", file)]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files = folders.map(|folder| folder.join("libnss_wrapper.so")).filter(|file| file.exists());
    files.next().expect("these tests need nss_wrapper: `sudo apt-get install libnss-wrapper`")
}
