/** The two browser engines, driven through one interface: Chromium over CDP, Firefox over WebDriver BiDi. */

// Playwright 1.64: 1.65 needs a BiDi command (emulation.setMediaFeaturesOverride) that Firefox 153 ESR lacks.
import { chromium, firefox } from 'playwright-core';

const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const CHROMIUM_MICROPHONE = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];

const FIREFOX_PREFERENCES = {
  // WebRTC between two pages of one machine that may have no network.
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
};
const FIREFOX_MICROPHONE = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
};

/** How Playwright starts each engine. Firefox is Debian's, not a build that Playwright patched. */
const LAUNCHERS = {
  chromium: ({ flags, microphone }) =>
    chromium.launchServer({
      executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium',
      args: [...CHROMIUM_FLAGS, ...(microphone ? CHROMIUM_MICROPHONE : []), ...flags],
    }),
  firefox: ({ flags, microphone }) =>
    firefox.launchServer({
      channel: 'moz-firefox',
      executablePath: process.env.FIREFOX_BIN ?? '/usr/bin/firefox-esr',
      args: flags,
      firefoxUserPrefs: { ...FIREFOX_PREFERENCES, ...(microphone ? FIREFOX_MICROPHONE : {}) },
    }),
};
const CONNECTORS = { chromium, firefox };

/** The engines that the tests of calls use: SWITCHBOARD_ENGINES, or all. */
export const ENGINES = process.env.SWITCHBOARD_ENGINES?.split(',') ?? Object.keys(LAUNCHERS);

/**
 * Starts a browser, by default Chromium with a fake microphone that beeps and is allowed.
 * @param {{ engine?: 'chromium' | 'firefox', flags?: string[], microphone?: boolean }} [options]
 */
export async function openBrowser({ engine = 'chromium', flags = [], microphone = true } = {}) {
  const server = await LAUNCHERS[engine]({ flags, microphone });
  const browser = await CONNECTORS[engine].connect(server.wsEndpoint());
  // The launcher gives each browser its own process group; this addresses all its processes.
  const group = -server.process().pid;
  return {
    browser,
    freeze: () => process.kill(group, 'SIGSTOP'),
    thaw: () => process.kill(group, 'SIGCONT'),
    kill: () => process.kill(group, 'SIGKILL'),
    close: async () => {
      await browser.close().catch(() => {});
      await server.close().catch(() => {});
    },
  };
}
