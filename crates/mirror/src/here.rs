//! Steps on this machine: how they are done, and what of them is taken into the trees.

use crate::plan::Step;
use crate::tree::{Id, Identity, Kind, Local, Node, Place, Stamp};
use crate::trees::Trees;

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// What is there is not what was known of it; the folder has to be scanned again.
    #[error("it changed meanwhile")]
    Changed,
    /// Something that is not kept in step has the name.
    #[error("something else has its name")]
    Taken,
    /// The folder still has something that is not kept in step.
    #[error("the folder still has something that is not kept in step")]
    NotEmpty,
    /// Anything else.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The content did not come.
    #[error("{0}")]
    Fetch(String),
}

/// The folder of a mirror. Paths are from its top on.
pub trait Disk {
    /// Makes a folder.
    ///
    /// # Errors
    /// [`StepError::Taken`] when there is something.
    fn make_folder(&mut self, path: &str) -> Result<Option<Identity>, StepError>;

    /// Moves or renames, never over anything. `identity` is which file it is.
    ///
    /// # Errors
    /// [`StepError::Changed`] when it is another file, [`StepError::Taken`].
    fn rename(
        &mut self,
        from: &str,
        to: &str,
        identity: Option<Identity>,
    ) -> Result<Option<Stamp>, StepError>;

    /// Puts a content that was downloaded to its place; over a file only while that looks as it is
    /// known to.
    ///
    /// # Errors
    /// [`StepError::Changed`], [`StepError::Taken`].
    fn put(
        &mut self,
        node: &Node,
        path: &str,
        over: Option<(Stamp, Option<Identity>)>,
    ) -> Result<(Option<Identity>, Option<Stamp>), StepError>;

    /// Removes a file while it looks as it is known to.
    ///
    /// # Errors
    /// [`StepError::Changed`].
    fn remove_file(&mut self, path: &str, known: Stamp) -> Result<(), StepError>;

    /// Removes a folder that is empty.
    ///
    /// # Errors
    /// [`StepError::NotEmpty`].
    fn remove_folder(&mut self, path: &str) -> Result<(), StepError>;
}

impl Trees {
    /// Does a step, whose content has been downloaded if it needs one.
    ///
    /// # Errors
    /// [`StepError`]; the step is not done then.
    pub fn perform(&mut self, step: &Step, disk: &mut impl Disk) -> Result<(), StepError> {
        match step {
            Step::MakeFolder(id) => self.make_folder(id, disk),
            Step::Fetch(id) => self.put(id, disk),
            Step::Move(id, place) => self.relocate(id, place, disk),
            Step::Remove(id) => self.remove(id, disk),
        }
    }

    /// As [`Trees::perform`]; what went wrong for good is noted. Whether it was done.
    pub fn try_step(&mut self, step: &Step, disk: &mut impl Disk) -> bool {
        let done = self.perform(step, disk);
        self.step_failed(step, done)
    }

    /// Notes why a step was not done. Whether it was.
    pub fn step_failed(&mut self, step: &Step, done: Result<(), StepError>) -> bool {
        match done {
            Ok(()) => true,
            // The next scan sees to it.
            Err(StepError::Changed) => false,
            Err(error) => {
                self.note(step.id(), error.to_string());
                false
            }
        }
    }

    fn make_folder(&mut self, id: &Id, disk: &mut impl Disk) -> Result<(), StepError> {
        let remote = self.remote.get(id).ok_or(StepError::Changed)?.clone();
        let path = self
            .local
            .path_at(&remote.place)
            .ok_or(StepError::Changed)?;
        let identity = disk.make_folder(&path)?;
        let local = Local {
            kind: Kind::Folder,
            place: remote.place.clone(),
            content: None,
            identity,
            stamp: None,
        };
        self.set_local(id, Some(local));
        self.set_synced(id, Some(remote));
        Ok(())
    }

    fn put(&mut self, id: &Id, disk: &mut impl Disk) -> Result<(), StepError> {
        let remote = self.remote.get(id).ok_or(StepError::Changed)?.clone();
        let local = self.local.get(id).cloned();
        let place = local
            .as_ref()
            .map_or(&remote.place, |local| &local.place)
            .clone();
        let path = self.local.path_at(&place).ok_or(StepError::Changed)?;
        let over = match &local {
            Some(local) => Some((local.stamp.ok_or(StepError::Changed)?, local.identity)),
            None => None,
        };
        let (identity, stamp) = disk.put(&remote, &path, over)?;
        let local = Local {
            kind: Kind::File,
            place: place.clone(),
            content: remote.content.clone(),
            identity,
            stamp,
        };
        let mut synced = remote;
        if let Some(before) = self.synced.get(id) {
            synced.place = before.place.clone();
        }
        self.set_local(id, Some(local));
        self.set_synced(id, Some(synced));
        Ok(())
    }

    fn relocate(&mut self, id: &Id, place: &Place, disk: &mut impl Disk) -> Result<(), StepError> {
        let mut local = self.local.get(id).ok_or(StepError::Changed)?.clone();
        let from = self.local.path(id).ok_or(StepError::Changed)?;
        let to = self.local.path_at(place).ok_or(StepError::Changed)?;
        let stamp = disk.rename(&from, &to, local.identity)?;
        local.place = place.clone();
        // A rename changes when the file was changed, and nothing else.
        local.stamp = match (local.stamp, stamp) {
            (Some(known), Some(seen))
                if (known.size, known.modified) == (seen.size, seen.modified) =>
            {
                Some(seen)
            }
            (known, _) => known,
        };
        self.set_local(id, Some(local));
        if let Some(synced) = self.synced.get(id) {
            let mut synced = synced.clone();
            synced.place = place.clone();
            self.set_synced(id, Some(synced));
        }
        Ok(())
    }

    fn remove(&mut self, id: &Id, disk: &mut impl Disk) -> Result<(), StepError> {
        let local = self.local.get(id).ok_or(StepError::Changed)?;
        let path = self.local.path(id).ok_or(StepError::Changed)?;
        match local.kind {
            Kind::File => disk.remove_file(&path, local.stamp.ok_or(StepError::Changed)?)?,
            Kind::Folder => disk.remove_folder(&path)?,
        }
        self.set_local(id, None);
        self.set_synced(id, None);
        Ok(())
    }
}

impl Step {
    /// The node that it is about.
    pub fn id(&self) -> &Id {
        match self {
            Self::MakeFolder(id) | Self::Fetch(id) | Self::Move(id, _) | Self::Remove(id) => id,
        }
    }
}
