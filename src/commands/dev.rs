//! `sluice dev`

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sluice_api::auth::{Scope, mint};
use sluice_convex::Secret;
use sluice_jobs::JobsError;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::app::{Api, App, serve_convex_store};
use crate::data_folder::{Addresses, DataFolder};
use crate::dev::{PrivateServers, Software, demo};
use crate::failure::{Context, Failure, chain};
use crate::http::Server;
use crate::settings::{
    ApiSettings, AuthSettings, BackendSettings, CacheSettings, ConvexKeySettings, ConvexSettings,
    ConvexStoreSettings, DataSettings, DevSecretSettings, FilesSettings, HttpSettings, JobSettings,
    ObjectSettings, PoolSettings, QueueSettings, TailSettings, ValkeySettings,
};
use crate::shutdown::{DRAIN, Shutdown, finish};
use crate::{output, telemetry};

/// Where the embedded Convex listens: as Convex's own local backend.
const CONVEX_PORT: u16 = 3210;

/// How long the printed token is valid.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 3600);

/// How long what is not a job may take to end.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// Everything in one process: a private Valkey, an embedded Convex, the API, the board and workers
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    sluice dev --demo             with the metadata of some of this machine's files\n  \
    sluice dev --port 0           on free ports; see addresses.json in the data folder\n  \
    sluice dev --data /tmp/other  beside another one\n  \
    sluice dev --cluster          on a cluster of Valkey: three primaries, three replicas\n\n\
    The state survives restarts. Ctrl-C lets running jobs finish, a second one ends at once.")]
pub struct Dev {
    /// Load demo data for usr_demo1 and usr_demo2
    #[arg(long)]
    demo: bool,

    /// Run Valkey as a cluster of six servers; it has data of its own, in valkey/1 to valkey/6
    #[arg(long)]
    cluster: bool,

    /// The API's port on 127.0.0.1; 0 takes free ones for everything
    #[arg(long, value_name = "N")]
    port: Option<u16>,

    /// The embedded Convex's port on 127.0.0.1 [default: 3210]
    #[arg(long, value_name = "N")]
    convex_port: Option<u16>,

    /// The Valkey server to run [default: valkey-server on PATH, else .valkey/bin/valkey-server]
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_VALKEY_SERVER",
        help_heading = "Settings"
    )]
    valkey_server: Option<PathBuf>,

    /// Valkey's JSON module [default: .valkey/lib/rejson.so, if it is there]
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_JSON_MODULE",
        help_heading = "Settings"
    )]
    json_module: Option<PathBuf>,

    #[command(flatten)]
    data: DataSettings,
    #[command(flatten)]
    api: ApiSettings,
    #[command(flatten)]
    http: HttpSettings,
    #[command(flatten)]
    auth: AuthSettings,
    #[command(flatten)]
    store: ConvexStoreSettings,
    #[command(flatten)]
    pool: PoolSettings,
    #[command(flatten)]
    cache: CacheSettings,
    #[command(flatten)]
    objects: ObjectSettings,
    #[command(flatten)]
    files: FilesSettings,
    #[command(flatten)]
    queues: QueueSettings,
    #[command(flatten)]
    jobs: JobSettings,
    #[command(flatten)]
    tail: TailSettings,
}

/// What runs, in the order in which it was started.
struct Parts {
    valkey: PrivateServers,
    convex: Server,
    workers: JoinHandle<Result<(), JobsError>>,
    api: Api,
}

impl Dev {
    pub async fn run(self) -> Result<(), Failure> {
        let shutdown = Shutdown::on_signals()?;
        let folder = DataFolder::create(&self.data.data)?;
        let _lock = folder.lock()?;
        // A process that was killed leaves its addresses behind.
        folder.remove_addresses();

        let Some(parts) = shutdown
            .unless_requested(self.start(&folder, &shutdown))
            .await
        else {
            return Ok(());
        };
        let mut parts = parts?;
        let outcome = parts.watch(&shutdown).await;
        folder.remove_addresses();
        shutdown.request();
        parts.stop().await;
        outcome
    }

    async fn start(&self, folder: &DataFolder, shutdown: &Shutdown) -> Result<Parts, Failure> {
        self.cache.warn_of_gaps(&self.jobs);
        // First of all, since it is what fails most often.
        let (api, convex) = self.bind().await?;
        let auth = AuthSettings {
            dev: DevSecretSettings {
                dev_secret: Some(self.dev_secret(folder)?),
            },
            ..self.auth.clone()
        };

        let server = self.valkey_server.as_deref();
        let software = Software::find(server, self.json_module.as_deref())?;
        let valkey = match self.cluster {
            true => PrivateServers::cluster(&software, &folder.valkey()).await?,
            false => PrivateServers::one(&software, &folder.valkey()).await?,
        };

        let convex_key = folder.convex_key()?;
        let convex = serve_convex_store(convex, &self.store, &self.http, folder, &convex_key)?;
        let backends = BackendSettings {
            valkey: ValkeySettings::at(valkey.url()),
            pool: self.pool.clone(),
            convex: ConvexSettings {
                convex_url: Url::parse(&convex.url()).ok(),
                key: ConvexKeySettings {
                    convex_key: Some(convex_key.clone()),
                },
            },
            files: self.files.clone(),
            cache: self.cache.clone(),
            objects: self.objects(folder),
            queues: self.queues.clone(),
        };
        if self.demo {
            demo::load(&backends.convex.client()?).await?;
        }

        let metrics = telemetry::start_metrics()?;
        let documents = &self.api.documents;
        let app = App::connect(&backends, documents).await?;
        let workers = app.run_workers(&self.jobs, documents, &self.tail, shutdown);
        let workers = tokio::spawn(workers);
        let api = app.serve_api(api, &self.api, &self.http, auth.auth()?, metrics, shutdown)?;

        let addresses = Addresses {
            api: api.url(),
            convex: convex.url(),
            convex_key: convex_key.expose().to_owned(),
            valkey: valkey.url().to_owned(),
        };
        self.announce(&addresses, auth.dev.dev_secret.as_ref())?;
        folder.write_addresses(&addresses)?;
        Ok(Parts {
            valkey,
            convex,
            workers,
            api,
        })
    }

    /// Listeners for the API and for Convex.
    async fn bind(&self) -> Result<(TcpListener, TcpListener), Failure> {
        let mut api = self.api.listen;
        if let Some(port) = self.port {
            api.set_port(port);
        }
        let free = api.port() == 0;
        let convex_port = self
            .convex_port
            .unwrap_or(if free { 0 } else { CONVEX_PORT });
        let convex = SocketAddr::from((Ipv4Addr::LOCALHOST, convex_port));
        Ok((Server::bind(api).await?, Server::bind(convex).await?))
    }

    /// The store that is set, else the folder's own.
    fn objects(&self, folder: &DataFolder) -> ObjectSettings {
        let own = || Url::from_file_path(folder.objects()).ok();
        ObjectSettings {
            objects_url: self.objects.objects_url.clone().or_else(own),
        }
    }

    /// The secret that is set, else the folder's own.
    fn dev_secret(&self, folder: &DataFolder) -> Result<Secret, Failure> {
        match &self.auth.dev.dev_secret {
            Some(secret) => Ok(secret.clone()),
            None => folder.dev_secret(),
        }
    }

    /// Tells where everything is, with a token that opens it.
    fn announce(&self, addresses: &Addresses, secret: Option<&Secret>) -> Result<(), Failure> {
        let user = if self.demo {
            demo::FIRST_USER
        } else {
            "developer"
        };
        let secret = secret.map_or("", Secret::expose);
        let token = mint(secret, user, &Scope::ALL, TOKEN_LIFE).context("cannot mint a token")?;
        let Addresses { api, convex, .. } = addresses;
        output::line(format_args!(
            "API         {api}\n\
             board       {api}/board\n\
             reference   {api}/docs\n\
             Convex      {convex}\n\
             data        {}\n\
             token       {token}\n\
             The token is {user}'s, with every scope, for {} h; `sluice token` mints others. Ctrl-C stops.",
            self.data.data.display(),
            TOKEN_LIFE.as_secs() / 3600,
        ));
        Ok(())
    }
}

impl Parts {
    /// Returns when the process is to end; with the reason, when a part failed.
    async fn watch(&mut self, shutdown: &Shutdown) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = shutdown.requested() => Ok(()),
            failure = self.valkey.given_up() => Err(failure),
            ended = &mut self.workers => Err(Failure::new(match ended {
                Ok(Err(error)) => format!("the workers ended: {}", chain(&error)),
                Ok(Ok(())) | Err(_) => "the workers ended".to_owned(),
            })),
        }
    }

    /// Ends what takes work first, what the work rests on last.
    async fn stop(self) {
        self.api.stop_accepting();
        if !self.workers.is_finished() {
            finish(self.workers, DRAIN + LAST_ANSWERS).await;
        }
        self.api.stop(LAST_ANSWERS).await;
        self.convex.stop(LAST_ANSWERS).await;
        self.valkey.stop().await;
    }
}
