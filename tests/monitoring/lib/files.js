/** The dashboard and the rules of tuning/. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

export const dashboard = JSON.parse(readFileSync(`${ROOT}/tuning/grafana/dashboards/switchboard.json`, 'utf8'));

export function readRules(name) {
  return readFileSync(`${ROOT}/tuning/prometheus/rules/${name}.yml`, 'utf8');
}

/** Every query of the dashboard with its variables replaced, and the panel it belongs to. */
export function dashboardQueries() {
  const asked = (expr) => expr.replaceAll('$instance', '.+').replaceAll('$__rate_interval', '30s');
  return dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ refId, expr }) => ({ who: `${title} (${refId})`, expr: asked(expr) })));
}
