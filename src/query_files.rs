//! Finds the query files and reads them. It knows their possible places, and nothing of their content.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::file;
use crate::problem::{Origin, Problem};

/// The name of the file in the folders that are searched.
const NAME: &str = "queries.yml";

/// The query files that there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryFiles {
    /// The names and texts of the readable files.
    pub(crate) texts: Vec<(String, String)>,
    /// The problems of the other files of a folder.
    pub(crate) unreadable: Vec<Problem>,
}

/// The most bytes of a file. Parsed as YAML, it may take 400 times as much memory. The `queries.yml` of this project has
/// 44 kB.
const BYTES_MAX: u64 = 256 << 10;
/// The most bytes of all files of a folder together.
const FOLDER_BYTES_MAX: usize = 1 << 20;

/// Finds and reads the query files. Each must be a regular file of 256 KiB at most.
///
/// `explicit` is a file, or a folder whose `*.yml` and `*.yaml` are read in the order of their names; hidden
/// ones and folders within it are left out. Without it, the first of these counts: `queries.yml` in `task_root`
/// (the function's package), `/opt/queries.yml` (a Lambda layer), `queries.yml` in the working folder.
///
/// # Errors
/// Nothing is found, or the only file cannot be read or is not UTF-8: the error names the path.
pub(crate) fn read(explicit: Option<&Path>, task_root: Option<&Path>) -> Result<QueryFiles> {
    match explicit {
        Some(path) => read_path(path, file::read),
        None => read_first(&default_paths(task_root)),
    }
}

/// The same for a path on the command line, which may be a pipe.
///
/// # Errors
/// See [`read`].
pub(crate) fn read_argument(path: &Path) -> Result<QueryFiles> {
    read_path(path, file::read_or_wait)
}

/// The name and the text of one file, with the same limit.
///
/// # Errors
/// It cannot be read or is not UTF-8: the error names the path.
pub(crate) fn read_one(path: &Path) -> Result<(String, String)> {
    text(path, file::read(path, BYTES_MAX)).with_context(|| path.display().to_string())
}

fn default_paths(task_root: Option<&Path>) -> Vec<PathBuf> {
    let package = task_root.map(|root| root.join(NAME));
    package.into_iter().chain([Path::new("/opt").join(NAME), PathBuf::from(NAME)]).collect()
}

fn read_first(paths: &[PathBuf]) -> Result<QueryFiles> {
    for path in paths {
        if path.try_exists().with_context(|| format!("cannot look for {}", path.display()))? {
            return read_path(path, file::read);
        }
    }
    let looked: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    bail!("no query file: none of {} exists; name a file, or set QUERIES_FILE", looked.join(", "))
}

/// Reads a file by `read_one`, or those of a folder.
fn read_path(path: &Path, read_one: impl Fn(&Path, u64) -> io::Result<Vec<u8>>) -> Result<QueryFiles> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !metadata.is_dir() {
        return Ok(QueryFiles {
            texts: vec![text(path, read_one(path, BYTES_MAX)).with_context(|| path.display().to_string())?],
            ..QueryFiles::default()
        });
    }
    let files = yaml_files(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
    if files.is_empty() {
        bail!("the folder {} has no *.yml or *.yaml; add one, or name a file", path.display());
    }
    let mut found = QueryFiles::default();
    let mut bytes = 0;
    for file in files {
        match text(&file, file::read(&file, BYTES_MAX)) {
            Ok((_, text)) if bytes + text.len() > FOLDER_BYTES_MAX => {
                bail!(
                    "the files of the folder {} are larger than {} MiB",
                    path.display(),
                    FOLDER_BYTES_MAX >> 20
                );
            }
            Ok((name, text)) => {
                bytes += text.len();
                found.texts.push((name, text));
            }
            Err(error) => {
                let origin = Origin::File(file.display().to_string());
                found.unreadable.push(Problem::at(origin, "", format!("{error:#}")));
            }
        }
    }
    Ok(found)
}

fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = path.extension().is_some_and(|e| e == OsStr::new("yml") || e == OsStr::new("yaml"));
        if yaml && !hidden && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The name and the text of a file with these bytes.
fn text(path: &Path, bytes: io::Result<Vec<u8>>) -> Result<(String, String)> {
    let name = path.display().to_string();
    let bytes = bytes.context("cannot be read")?;
    let text = String::from_utf8(bytes)
        .map_err(|error| anyhow!("is not UTF-8: {}; save it as UTF-8", error.utf8_error()))?;
    Ok((name, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    fn failure(result: Result<QueryFiles>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn a_file_is_read_whatever_its_name() {
        let folder = folder(&[(".hidden.txt", b"a: 1\r\n")]);
        let path = folder.path().join(".hidden.txt");
        let expected = [(path.display().to_string(), "a: 1\r\n".to_owned())];
        assert_eq!(read(Some(&path), None).unwrap().texts, expected);
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names() {
        let files: &[(&str, &[u8])] = &[
            ("b.yml", b"b"),
            ("a.yaml", b"a"),
            (".c.yml", b"c"),
            ("d.txt", b"d"),
            ("10.yml", b"10"),
            ("yml", b""),
        ];
        let folder = folder(files);
        fs::create_dir(folder.path().join("e.yml")).unwrap();
        let texts: Vec<_> =
            read(Some(folder.path()), None).unwrap().texts.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["10", "a", "b"]);
    }

    #[test]
    fn links_are_followed_as_in_a_mounted_config_map() {
        let folder = folder(&[]);
        fs::create_dir(folder.path().join("..data")).unwrap();
        fs::write(folder.path().join("..data/a.yml"), "a").unwrap();
        std::os::unix::fs::symlink("..data/a.yml", folder.path().join("a.yml")).unwrap();
        assert_eq!(read(Some(folder.path()), None).unwrap().texts[0].1, "a");
        std::os::unix::fs::symlink("nowhere", folder.path().join("b.yml")).unwrap();
        let found = read(Some(folder.path()), None).unwrap();
        assert_eq!((found.texts.len(), found.unreadable.len()), (1, 1));
        assert!(found.unreadable[0].to_string().contains("b.yml: cannot be read: No such file"));
    }

    #[test]
    fn the_package_comes_before_the_layer_and_the_working_folder() {
        let package = folder(&[("queries.yml", b"package")]);
        assert_eq!(read(None, Some(package.path())).unwrap().texts[0].1, "package");
        let paths = default_paths(Some(Path::new("/var/task")));
        let expected = ["/var/task/queries.yml", "/opt/queries.yml", "queries.yml"];
        assert_eq!(paths, expected.map(PathBuf::from));
        assert_eq!(default_paths(None), [PathBuf::from("/opt/queries.yml"), PathBuf::from("queries.yml")]);
        let later = folder(&[("queries.yml", b"later")]);
        let paths = [later.path().join("missing.yml"), later.path().join("queries.yml")];
        assert_eq!(read_first(&paths).unwrap().texts[0].1, "later");
    }

    #[test]
    fn failures_name_the_path() {
        let folder = folder(&[("utf16.yml", b"\xff\xfea\0"), ("a.txt", b"")]);
        let missing = folder.path().join("missing.yml");
        let utf16 = folder.path().join("utf16.yml");
        for path in [&missing, &utf16] {
            assert!(failure(read(Some(path), None)).contains(&path.display().to_string()));
        }
        assert!(
            failure(read(Some(&utf16), None)).contains("utf16.yml: is not UTF-8: invalid utf-8 sequence")
        );
        fs::remove_file(utf16).unwrap();
        assert!(failure(read(Some(folder.path()), None)).contains("has no *.yml or *.yaml"));
        let nowhere = failure(read_first(&[missing]));
        assert!(nowhere.contains("missing.yml") && nowhere.contains("QUERIES_FILE"), "{nowhere}");
    }
}
