/** A real Prometheus scraping a server under load: recording rules, dashboard queries, alerts. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { Server } from '../browser/lib/server.js';
import { Program, eventually, onFreePorts, replaced } from '../proxy/lib/program.js';
import { ROOT, dashboard, dashboardQueries } from './lib/files.js';
import { Load } from './lib/load.js';

describe('Prometheus and a server under load', { timeout: 240_000 }, () => {
  const folder = mkdtempSync(`${tmpdir()}/switchboard-prometheus-`);
  let server;
  let load;
  let prometheus;
  let url;

  /** The shipped configuration with shorter intervals and the address of this server. */
  function settings() {
    const path = `${ROOT}/tuning/prometheus`;
    const text = replaced(readFileSync(`${path}/prometheus.yml`, 'utf8'), [
      ['_interval: 15s', '_interval: 1s', 2],
      ['- rules/*.yml', `- ${path}/rules/*.yml`],
      ['"localhost:8080"', `"127.0.0.1:${server.port}"`],
    ]);
    writeFileSync(`${folder}/prometheus.yml`, text);
    return `${folder}/prometheus.yml`;
  }

  async function api(path, parameters = {}) {
    const response = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const { status, data, error } = await response.json();
    assert.equal(status, 'success', `${path} ${JSON.stringify(parameters)}: ${error}`);
    return data;
  }

  /** The present values of a query. NaN, as from a rate of nothing, counts as no data. */
  async function values(query) {
    const { result } = await api('query', { query });
    return result.map(({ value: [, value] }) => Number(value)).filter(Number.isFinite);
  }

  async function rules(type) {
    const { groups } = await api('rules', { type });
    return groups.flatMap((group) => group.rules);
  }

  before(async () => {
    // A named queue is shown even while it is empty.
    server = await Server.start('--stats-queue', 'lonely,default');
    load = await Load.start(server);
    prometheus = await onFreePorts(1, (port) => {
      url = `http://127.0.0.1:${port}`;
      const args = [`--config.file=${settings()}`, `--storage.tsdb.path=${folder}/data`, '--log.level=warn'];
      return Program.start('prometheus', [...args, `--web.listen-address=127.0.0.1:${port}`], port);
    });
    await eventually(async () => (await fetch(`${url}/-/ready`)).status, (status) => status === 200, 'readiness');
  });

  after(async () => {
    await load?.stop().catch(() => {});
    await prometheus?.end();
    await server?.down();
    rmSync(folder, { recursive: true, force: true });
  });

  test('promtool finds no fault in the exposition', async () => {
    const input = await (await fetch(`${server.url}metrics`)).text();
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' });
    assert.deepEqual({ status, output: stdout + stderr }, { status: 0, output: '' });
  });

  test('every query of the dashboard has data', async () => {
    const queries = dashboardQueries();
    assert.ok(queries.length > 60);
    await eventually(
      async () => {
        const empty = [];
        for (const { who, expr } of queries) {
          if ((await values(expr)).length === 0) empty.push(`${who}: ${expr}`);
        }
        return empty;
      },
      (empty) => empty.length === 0,
      'data for all panels',
      60_000,
    );
    console.log(`${queries.length} queries of ${dashboard.panels.length} panels have data`);
  });

  test('the queries of dashboard variables and annotations are valid', async () => {
    const [, instance] = dashboard.templating.list;
    const [, series, label] = /^label_values\((.*), (\w+)\)$/.exec(instance.definition);
    const found = await api(`label/${label}/values`, { 'match[]': series });
    assert.deepEqual(found, [`127.0.0.1:${server.port}`]);
    for (const { expr } of dashboard.annotations.list) await values(expr.replaceAll('$instance', '.+'));
  });

  test('every recording rule has data', async () => {
    const recorded = await rules('record');
    assert.ok(recorded.length > 10);
    for (const { name } of recorded) {
      await eventually(() => values(name), (now) => now.length > 0, `data of ${name}`);
    }
    assert.deepEqual(recorded.filter(({ health }) => health !== 'ok').map(({ name, lastError }) => [name, lastError]), []);
  });

  test('metrics agree with the load', async () => {
    const users = dashboardQueries().find(({ who }) => who === 'Users (A)');
    // At times one more client connects to cause an error.
    await eventually(() => values(users.expr), ([now]) => now === Load.USERS, `${Load.USERS} users`);
    await eventually(() => values('sum(switchboard_queue_waiting_users{queue="lonely"})'), ([now]) => now === 1, 'the user who waits alone');
    await eventually(() => values('sum by (code) (switchboard_message_errors_total{code=~"bad_json|not_waiting"}) > 0'), (now) => now.length === 2, 'both errors');
    const [relayed] = await values('sum(instance:switchboard_messages_relayed:rate5m)');
    const [received] = await values('sum(rate(switchboard_messages_received_total[5m]))');
    assert.ok(relayed > 0 && relayed < received, `${relayed} of ${received} a second`);
  });

  // promtool's tests invent their series: a label value that no server has would never fire.
  test('every series that an alert uses exists on a server', async () => {
    const selectors = new Set();
    for (const { query } of await rules('alert')) {
      for (const [, name, matchers = ''] of query.matchAll(/\b(up|(?:switchboard|process|instance)[a-z_]*[_:][a-z0-9_:]+)\b(\{[^}]*\})?/g)) {
        const choices = /^(.*)=~"([^"]*\|[^"]*)"(.*)$/.exec(matchers);
        if (choices === null) selectors.add(name + matchers);
        else for (const one of choices[2].split('|')) selectors.add(`${name}${choices[1]}="${one}"${choices[3]}`);
      }
    }
    assert.ok(selectors.size > 25, [...selectors].join('\n'));
    const missing = [];
    for (const selector of selectors) {
      if ((await values(`count(${selector})`)).length === 0) missing.push(selector);
    }
    assert.deepEqual(missing, []);
    console.log(`${selectors.size} selectors of alerts have series`);
  });

  test('every alert is inactive', async () => {
    const alerts = await rules('alert');
    assert.ok(alerts.length > 10);
    assert.deepEqual(alerts.filter(({ health, lastError }) => health !== 'ok' || lastError !== undefined), []);
    assert.deepEqual(alerts.filter(({ state }) => state !== 'inactive'), []);
    assert.deepEqual(await values('count_over_time(ALERTS{alertstate="firing"}[10m])'), []);
    console.log(`${alerts.length} alerts are inactive`);
  });

  test('a stopped server raises an alert with its texts filled in', async () => {
    await load.stop();
    load = undefined;
    await server.down();
    const [alert] = await eventually(
      async () => (await api('alerts')).alerts.filter(({ labels }) => labels.alertname === 'SwitchboardDown'),
      (alerts) => alerts.length === 1,
      'SwitchboardDown',
    );
    // It fires after a minute, which the promtool tests check.
    assert.equal(alert.state, 'pending');
    assert.equal(alert.annotations.summary, `Switchboard 127.0.0.1:${server.port} does not answer`);
    assert.match(alert.annotations.runbook, /^1\. .*systemctl status switchboard/);
  });
});
