//! Small file systems of a test's own. They take root and a kernel that mounts loop devices.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs a program that must succeed.
pub fn run(program: &str, args: &[&OsStr]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether file systems can be mounted, and why not.
pub fn can_mount(tools: &[&str]) -> Result<(), String> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !root {
        return Err("mounting takes root".to_owned());
    }
    for tool in tools.iter().chain(&["mount", "umount"]) {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        if !found.is_ok_and(|found| found.status.success()) {
            return Err(format!("{tool} is missing"));
        }
    }
    Ok(())
}

/// A file system in a file, mounted for as long as this is kept.
pub struct Image {
    file: Option<PathBuf>,
    mounted: PathBuf,
}

impl Image {
    /// An ext4 of so many MiB.
    pub fn ext4(home: &Path, mib: u64) -> Self {
        let (file, mounted) = (home.join("ext4.img"), home.join("mounted"));
        fs::File::create(&file).unwrap().set_len(mib << 20).unwrap();
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), file.as_os_str()]);
        fs::create_dir(&mounted).unwrap();
        let image = Self { file: Some(file), mounted };
        image.mount();
        image
    }

    /// A tmpfs of so many MiB.
    pub fn tmpfs(home: &Path, mib: u64) -> Self {
        let mounted = home.join("mounted");
        fs::create_dir(&mounted).unwrap();
        let size = format!("size={mib}m");
        let args = ["-t", "tmpfs", "-o", &size, "tmpfs"].map(OsStr::new);
        run("mount", &[&args[..], &[mounted.as_os_str()]].concat());
        Self { file: None, mounted }
    }

    pub fn mounted(&self) -> &Path {
        &self.mounted
    }

    fn mount(&self) {
        if let Some(file) = &self.file {
            run("mount", &["-o".as_ref(), "loop".as_ref(), file.as_os_str(), self.mounted.as_os_str()]);
        }
    }

    /// Lets go of the file system and mounts it again, as after a restart.
    pub fn mount_again(&mut self) {
        run("umount", &[self.mounted.as_os_str()]);
        self.mount();
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have files open.
        drop(Command::new("umount").arg("-l").arg(&self.mounted).output());
    }
}
