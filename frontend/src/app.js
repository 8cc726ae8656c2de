// Everything that every page needs. The pages read without it; it makes them live and quick.
import "@fontsource-variable/inter/wght.css";
import "@tabler/core/dist/css/tabler.min.css";
import "uplot/dist/uPlot.min.css";
import "./css/tokens.css";
import "./css/shell.css";
import "./css/parts.css";
import "./css/portal.css";
import "./css/snapshots.css";

import "./actions.js";
import "./bulk.js";
import "./confirm.js";
import "./copy.js";
import "./forms.js";
import "./job-tray.js";
import "./keys.js";
import "./live-chart.js";
import "./live-regions.js";
import "./menus.js";
import "./notices.js";
import "./palette.js";
import "./passkeys.js";
import "./quota-cost.js";
import "./theme.js";
import "./times.js";
import "./try.js";
import "./vm-thumbnail.js";

