declare module "*.css";
declare module "@novnc/novnc";
