/**
 * Reads the quality of a call from its statistics (W3C webrtc-stats): whether audio is received,
 * how good the connection is, and whether it is relayed.
 *
 * @typedef {object} Reading
 * @property {number} bytesReceived of audio, since the call began.
 * @property {number} bytesSent of audio, since the call began.
 * @property {number} audioEnergy received, since the call began.
 * @property {boolean} arriving whether a packet of audio was received since the last reading.
 * @property {number | null} rttMs round trip to the partner.
 * @property {number} lossRatio of the packets since the last reading, 0 to 1.
 * @property {number} jitterMs
 * @property {boolean | null} relayed whether a TURN server relays the audio; null, not known yet.
 *
 * @typedef {'good' | 'fair' | 'poor'} Grade
 */

/** Reads statistics and keeps the previous totals, to compute differences. */
export class Vitals {
  #received = 0;
  #lost = 0;

  /**
   * @param {RTCStatsReport} report
   * @returns {Reading}
   */
  read(report) {
    const reading = {
      bytesReceived: 0,
      bytesSent: 0,
      audioEnergy: 0,
      arriving: false,
      rttMs: null,
      lossRatio: 0,
      jitterMs: 0,
      relayed: null,
    };
    for (const stat of report.values()) {
      if (stat.type === 'inbound-rtp' && stat.kind === 'audio') this.#inbound(stat, reading);
      else if (stat.type === 'outbound-rtp' && stat.kind === 'audio') {
        reading.bytesSent = stat.bytesSent ?? 0;
      } else if (stat.type === 'transport' && stat.selectedCandidatePairId !== undefined) {
        path(report, stat.selectedCandidatePairId, reading);
      }
    }
    return reading;
  }

  /**
   * @param {any} stat
   * @param {Reading} reading
   */
  #inbound(stat, reading) {
    const received = stat.packetsReceived - this.#received;
    const lost = Math.max(0, stat.packetsLost - this.#lost);
    this.#received = stat.packetsReceived;
    this.#lost = stat.packetsLost;
    reading.arriving = received > 0;
    reading.bytesReceived = stat.bytesReceived ?? 0;
    reading.audioEnergy = stat.totalAudioEnergy ?? 0;
    reading.jitterMs = (stat.jitter ?? 0) * 1000;
    reading.lossRatio = received + lost > 0 ? lost / (received + lost) : 0;
  }
}

/**
 * @param {RTCStatsReport} report
 * @param {string} pairId
 * @param {Reading} reading
 */
function path(report, pairId, reading) {
  const pair = report.get(pairId);
  if (pair === undefined) return;
  if (pair.currentRoundTripTime !== undefined) reading.rttMs = pair.currentRoundTripTime * 1000;
  const ends = [report.get(pair.localCandidateId), report.get(pair.remoteCandidateId)];
  reading.relayed = ends.some((end) => end?.candidateType === 'relay');
}

/**
 * The limits are those of ITU-T G.114 (one-way delay: 150 ms is good, 400 ms the maximum) and of
 * Opus, which conceals a few percent of loss but not ten.
 * @param {Reading} reading
 * @returns {Grade}
 */
export function grade({ rttMs, lossRatio, jitterMs }) {
  const delayMs = (rttMs ?? 0) / 2 + jitterMs;
  if (delayMs > 400 || lossRatio > 0.1) return 'poor';
  if (delayMs > 150 || lossRatio > 0.03) return 'fair';
  return 'good';
}
