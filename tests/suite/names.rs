//! A resolver of names that the test decides: nss_wrapper answers the function's `getaddrinfo` from a file.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// The names that a process knows.
pub(crate) struct Names {
    file: tempfile::NamedTempFile,
    /// It reads its file again when the time of that changes, in whole seconds.
    modified: SystemTime,
}

impl Names {
    /// One name with these addresses.
    pub(crate) fn new(name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut names =
            Self { file: tempfile::NamedTempFile::new().unwrap(), modified: SystemTime::UNIX_EPOCH };
        names.lead(name, addresses);
        names
    }

    /// From now on the name has these addresses and no other.
    pub(crate) fn lead(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        self.modified += Duration::from_secs(60);
        let lines: String = addresses.into_iter().map(|address| format!("{address} {name}\n")).collect();
        fs::write(self.file.path(), lines).unwrap();
        self.file.as_file().set_modified(self.modified).unwrap();
    }

    /// What a process needs in its environment to ask it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let library = fs::read_dir("/usr/lib")
            .unwrap()
            .flatten()
            .map(|folder| folder.path().join("libnss_wrapper.so"))
            .find(|library| library.exists())
            .expect("this test needs nss_wrapper: `sudo apt-get install libnss-wrapper`");
        [
            ("LD_PRELOAD", library.to_str().unwrap().to_owned()),
            ("NSS_WRAPPER_HOSTS", self.file.path().to_str().unwrap().to_owned()),
        ]
    }
}
