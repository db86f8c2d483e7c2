/** HAProxy and nginx with the files of tuning/proxy; only paths, ports and limits are changed. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Program, onFreePorts, replaced } from './program.js';

const FOLDER = fileURLToPath(new URL('../../../tuning/proxy', import.meta.url));

/** Makes a self-signed certificate and its key. */
function makeCertificate(folder) {
  const files = { crt: `${folder}/switchboard.crt`, key: `${folder}/switchboard.key`, pem: `${folder}/switchboard.pem` };
  execFileSync('openssl', [
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
    ['-subj', '/CN=switchboard.test', '-addext', 'subjectAltName=DNS:switchboard.test,IP:127.0.0.1'],
    ['-keyout', files.key, '-out', files.crt],
  ].flat(), { stdio: 'pipe' });
  writeFileSync(files.pem, readFileSync(files.crt, 'utf8') + readFileSync(files.key, 'utf8'), { mode: 0o600 });
  return files;
}

const haproxy = {
  name: 'HAProxy',
  file: 'haproxy.cfg',
  /** Changes that shorten the idle timeout of WebSockets. */
  idle: (time) => [['timeout tunnel 5m', `timeout tunnel ${time}`], ['timeout client 30s', `timeout client ${time}`], ['timeout server 30s', `timeout server ${time}`]],
  changes: ({ folder, files, plain, tls, one, two }) => [
    // Tests run without root, syslog and many descriptors.
    ['    user haproxy\n    group haproxy\n', ''],
    ['/dev/log local0', 'stdout format raw local0 notice'],
    ['/run/haproxy/admin.sock', `${folder}/admin.sock`],
    ['maxconn 200000', 'maxconn 1000'],
    ['bind :::80 v4v6', `bind 127.0.0.1:${plain}`],
    ['bind :::443 v4v6', `bind 127.0.0.1:${tls}`],
    ['/etc/haproxy/certs/switchboard.pem', files.pem],
    ['127.0.0.1:8080\n', `127.0.0.1:${one}\n`, 2],
    ['127.0.0.1:8081 ', `127.0.0.1:${two} `, 2],
  ],
  check: (config) => ['haproxy', ['-c', '-f', config]],
  run: (config) => ['haproxy', ['-db', '-f', config]],
};

const nginx = {
  name: 'nginx',
  file: 'nginx.conf',
  idle: (time) => [['proxy_read_timeout 5m', `proxy_read_timeout ${time}`], ['proxy_send_timeout 5m', `proxy_send_timeout ${time}`]],
  changes: ({ folder, files, plain, tls, one, two }) => [
    ['user www-data;\n', ''],
    ['/run/nginx.pid', `${folder}/nginx.pid`],
    ['/var/log/nginx/error.log', 'stderr'],
    ['worker_rlimit_nofile 210000;\n', ''],
    ['worker_connections 100000', 'worker_connections 1000'],
    ['    access_log off;\n', `    access_log off;\n${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `    ${what}_temp_path ${folder}/${what};\n`).join('')}`],
    ['listen 80;\n        listen [::]:80;', `listen 127.0.0.1:${plain};`],
    ['listen 443 ssl;\n        listen [::]:443 ssl;', `listen 127.0.0.1:${tls} ssl;`],
    ['/etc/nginx/certs/switchboard.crt', files.crt],
    ['/etc/nginx/certs/switchboard.key', files.key],
    ['127.0.0.1:8080 max', `127.0.0.1:${one} max`],
    ['127.0.0.1:8081 ', `127.0.0.1:${two} `],
  ],
  check: (config) => ['nginx', ['-t', '-q', '-e', 'stderr', '-c', config]],
  run: (config) => ['nginx', ['-e', 'stderr', '-c', config, '-g', 'daemon off;']],
};

export const KINDS = [haproxy, nginx];

export class Front {
  #folder = mkdtempSync(`${tmpdir()}/switchboard-front-`);
  #program;

  /**
   * @param kind one of {@link KINDS}
   * @param {[number, number]} servers the ports of the two behind it
   * @param {{ idle?: string, also?: [string, string, number?][] }} [options] a shorter idle time, and other changes
   */
  static async start(kind, [one, two], { idle, also = [] } = {}) {
    const front = new Front();
    const folder = front.#folder;
    try {
      const files = makeCertificate(folder);
      front.#program = await onFreePorts(2, async (plain, tls) => {
        Object.assign(front, { plain: `http://127.0.0.1:${plain}`, port: tls });
        const changes = [...also, ...(idle ? kind.idle(idle) : []), ...kind.changes({ folder, files, plain, tls, one, two })];
        const config = `${folder}/${kind.file}`;
        writeFileSync(config, replaced(readFileSync(`${FOLDER}/${kind.file}`, 'utf8'), changes));
        const [checker, args] = kind.check(config);
        execFileSync(checker, args, { stdio: 'pipe' });
        return Program.start(...kind.run(config), tls);
      });
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
    return front;
  }

  get url() {
    return `https://127.0.0.1:${this.port}/`;
  }

  get ws() {
    return `wss://127.0.0.1:${this.port}/ws`;
  }

  async stop() {
    await this.#program.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** GET on a new connection; accepts any certificate. */
export function get(url, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = https.get(url, { headers, rejectUnauthorized: false, agent: false }, async (response) => {
      const localPort = response.socket.localPort;
      let body = '';
      for await (const chunk of response.setEncoding('utf8')) body += chunk;
      resolve({ status: response.statusCode, headers: response.headers, body, localPort });
    });
    request.once('error', reject);
  });
}
