//! What a verdict does to the tree and the log.

use super::*;

impl Server {
    pub(super) fn perform(&mut self, w: &Writing<'_>, plan: Plan) -> String {
        for (id, name) in &plan.revive {
            let parent = self.nodes[id].parent.clone();
            self.revive(w, id, &parent, name);
            self.entry(w, id, ChangeType::Created, None);
        }
        let Some(id) = plan.node.clone() else {
            let id = match plan.id.as_str() {
                "" => {
                    self.made += 1;
                    format!("fil_s{}", self.made)
                }
                id => id.to_owned(),
            };
            let parent = plan.parent.clone().unwrap();
            let held = Held {
                is_folder: plan.is_folder,
                parent: parent.clone(),
                name: plan.name.clone(),
                parent_generation: 0,
                generation: 0,
                version: None,
                is_gone: false,
                made: Mark::default().by(self.head() + 1, w.device),
                content: None,
                placed: None,
                named: None,
                deleted: Mark::default(),
                inner: Mark::default(),
                was_moved: false,
                position: 0,
            };
            self.nodes.insert(id.clone(), held);
            self.attach(&id, &parent, &plan.name);
            self.touch_inner(w, &parent);
            self.fill(w, &id, plan.version.as_deref());
            self.entry(w, &id, ChangeType::Created, None);
            return id;
        };
        let old_path = self.path(&id);
        if plan.is_delete {
            self.detach(&id);
            let held = self.nodes[&id].clone();
            if held.is_folder {
                let key = self.names_of(&held.parent);
                self.ghosts
                    .entry(key)
                    .or_default()
                    .insert(fold(&held.name), id.clone());
            }
            let mark = held.deleted.by(self.head() + 1, w.device);
            let node = self.nodes.get_mut(&id).unwrap();
            node.is_gone = true;
            node.deleted = mark;
            self.entry(w, &id, ChangeType::Deleted, Some(old_path));
        } else if plan.is_place {
            let parent = plan.parent.clone().unwrap();
            let before = self.nodes[&id].clone();
            let is_moved = before.parent != parent;
            self.detach(&id);
            self.attach(&id, &parent, &plan.name);
            let position = self.head() + 1;
            let node = self.nodes.get_mut(&id).unwrap();
            if is_moved {
                node.placed = Some(
                    before
                        .placed
                        .as_ref()
                        .unwrap_or(&before.made)
                        .by(position, w.device),
                );
            }
            if before.name != plan.name {
                node.named = Some(
                    before
                        .named
                        .as_ref()
                        .unwrap_or(&before.made)
                        .by(position, w.device),
                );
            }
            node.was_moved = true;
            if is_moved {
                self.touch_inner(w, &parent);
            }
            let kind = if is_moved {
                ChangeType::Moved
            } else {
                ChangeType::Renamed
            };
            self.entry(w, &id, kind, Some(old_path));
        } else if plan.is_back {
            let parent = plan.parent.clone().unwrap();
            self.revive(w, &id, &parent, &plan.name);
            self.fill(w, &id, plan.version.as_deref());
            self.entry(w, &id, ChangeType::Created, None);
        } else {
            self.fill(w, &id, plan.version.as_deref());
            let parent = self.nodes[&id].parent.clone();
            self.touch_inner(w, &parent);
            self.entry(w, &id, ChangeType::Updated, None);
        }
        id
    }

    pub(super) fn touch_inner(&mut self, w: &Writing<'_>, folder: &str) {
        let position = self.head() + 1;
        for id in self.line(folder).0 {
            let node = self.nodes.get_mut(&id).unwrap();
            node.inner = node.inner.by(position, w.device);
        }
    }

    pub(super) fn revive(&mut self, w: &Writing<'_>, id: &str, folder: &str, name: &str) {
        self.detach(id);
        let position = self.head() + 1;
        let node = self.nodes.get_mut(id).unwrap();
        if node.is_folder {
            node.generation += 1;
        }
        node.is_gone = false;
        node.deleted = node.deleted.by(position, w.device);
        self.attach(id, folder, name);
        self.touch_inner(w, folder);
    }

    pub(super) fn fill(&mut self, w: &Writing<'_>, id: &str, version: Option<&str>) {
        let Some(version) = version else { return };
        let position = self.head() + 1;
        let node = self.nodes.get_mut(id).unwrap();
        node.version = Some(version.to_owned());
        node.content = Some(
            node.content
                .as_ref()
                .unwrap_or(&node.made)
                .by(position, w.device),
        );
        let version = self.versions.get_mut(version).unwrap();
        version.file = id.to_owned();
        version.position = position;
    }

    pub(super) fn entry(
        &mut self,
        w: &Writing<'_>,
        id: &str,
        kind: ChangeType,
        old_path: Option<String>,
    ) {
        self.made += 1;
        let position = self.head() + 1;
        let held = self.nodes.get_mut(id).unwrap();
        held.position = position;
        let held = held.clone();
        let path = self.path(id);
        self.log.push(Change {
            id: format!("chg_{}", self.made),
            position,
            share_id: "shr".to_owned(),
            resource_type: resource(held.is_folder),
            resource_id: id.to_owned(),
            parent_id: Some(held.parent.clone()),
            change_type: kind,
            changed_by: None,
            device_id: Some(w.device.to_owned()),
            changed_at: String::new(),
            new_path: (kind != ChangeType::Deleted).then_some(path),
            old_path,
            version_id: held.version.clone(),
            metadata: self.metadata(&held),
        });
    }
}
