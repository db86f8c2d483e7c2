/** Checks the dashboard file for mistakes that Grafana would reject or show. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { ROOT, dashboard, readRules } from './lib/files.js';

const panels = dashboard.panels;
const charts = panels.filter(({ type }) => type !== 'row');

test('panel ids and titles are unique', () => {
  for (const key of ['id', 'title']) {
    const all = panels.map((panel) => panel[key]);
    assert.deepEqual(all.filter((one, at) => all.indexOf(one) !== at), [], `repeated ${key}`);
  }
  assert.ok(panels.every(({ id }) => Number.isInteger(id) && id > 0));
});

test('panels do not overlap and lie within the 24 columns', () => {
  const taken = new Map();
  for (const { title, gridPos: { x, y, w, h } } of panels) {
    assert.ok(x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24, `${title} is outside`);
    for (let cell = 0; cell < w * h; cell += 1) {
      const place = `${x + (cell % w)},${y + Math.floor(cell / w)}`;
      assert.equal(taken.get(place), undefined, `${title} covers another panel`);
      taken.set(place, title);
    }
  }
});

test('every panel queries the selected data source for the selected instances', () => {
  const names = dashboard.templating.list.map(({ name, type }) => `${name} ${type}`);
  assert.deepEqual(names, ['datasource datasource', 'instance query']);
  assert.equal(dashboard.templating.list[0].query, 'prometheus');
  for (const panel of charts) {
    assert.ok(panel.targets.length > 0, `${panel.title} has no query`);
    const refs = panel.targets.map(({ refId }) => refId);
    assert.equal(new Set(refs).size, refs.length, `${panel.title} has a refId twice`);
    for (const source of [panel, ...panel.targets]) {
      assert.deepEqual(source.datasource, { type: 'prometheus', uid: '${datasource}' }, panel.title);
    }
    for (const { expr, legendFormat } of panel.targets) {
      assert.ok(expr.trim() !== '' && legendFormat.trim() !== '', panel.title);
      assert.ok(expr.includes('instance=~"$instance"') || expr.includes('ALERTS'), `${panel.title}: ${expr}`);
      // A fixed window is empty when the scrape interval is longer.
      assert.doesNotMatch(expr, /rate\([^[]*\[\d/, panel.title);
    }
  }
});

test('every panel has a unit and ascending thresholds', () => {
  for (const { title, fieldConfig: { defaults: { unit, thresholds } } } of charts) {
    assert.match(unit, /^(short|s|ops|Bps|bytes|percentunit)$/, title);
    const steps = thresholds.steps.map(({ value }) => value);
    assert.equal(steps[0], null, title);
    assert.deepEqual(steps.slice(1), steps.slice(1).sort((a, b) => a - b), title);
  }
});

test('every documented metric is on the dashboard', () => {
  const table = readFileSync(`${ROOT}/tuning/REFERENCE.md`, 'utf8').split('<!-- metrics -->')[1].split('<!-- /metrics -->')[0];
  const metrics = [...table.matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, name]) => name);
  assert.ok(metrics.length > 40, 'the table was not found');
  const shown = charts.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join('\n');
  assert.deepEqual(metrics.filter((name) => !new RegExp(`\\b${name}(_bucket)?\\b`).test(shown)), []);
});

test('provisioning names the existing dashboard', () => {
  const folder = `${ROOT}/tuning/grafana`;
  assert.deepEqual(readdirSync(`${folder}/dashboards`), ['switchboard.json']);
  assert.match(readFileSync(`${folder}/provisioning/dashboards/switchboard.yml`, 'utf8'), /^\s+path: \/var\/lib\/grafana\/dashboards\/switchboard$/m);
  assert.match(readFileSync(`${folder}/provisioning/datasources/switchboard.yml`, 'utf8'), /^\s+type: prometheus$/m);
});

test('every alert has annotations, a runbook and a firing test', () => {
  const firing = readFileSync(`${ROOT}/tuning/prometheus/tests/firing.yml`, 'utf8');
  const alerts = readRules('alerts').split(/^ {6}- alert: /m).slice(1);
  assert.ok(alerts.length > 10);
  for (const alert of alerts) {
    const name = alert.slice(0, alert.indexOf('\n'));
    assert.match(alert, /severity: (warning|critical)/, name);
    for (const note of ['summary', 'description', 'runbook']) assert.match(alert, new RegExp(`^ +${note}: \\S`, 'm'), name);
    assert.match(alert, /^ +1\. \S.*$/m, `${name}: the runbook has steps`);
    assert.ok(firing.includes(`- labels: 'ALERTS{alertname="${name}", alertstate="firing",`), `${name} is not tested`);
  }
});
