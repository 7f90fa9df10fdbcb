-- A state file of schema 1, as the daemon of that time wrote it, with its checksums. By their ends: third, second, first, fifth.
PRAGMA application_id = 1953985396;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
CREATE TABLE jobs (id INTEGER PRIMARY KEY, name TEXT NOT NULL, owner INTEGER NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, spec TEXT NOT NULL, boot INTEGER NOT NULL, added INTEGER NOT NULL, t0 INTEGER NOT NULL, since INTEGER NOT NULL, passed INTEGER NOT NULL, missed INTEGER NOT NULL, reason TEXT, sum INTEGER NOT NULL) STRICT;
INSERT INTO jobs VALUES(1,'first',0,'control','stopped',replace('kind=loop\nrate=1/h\n','\n',char(10)),1,1359473769552,0,1359791225168,1,0,NULL,-6223957913229906317);
INSERT INTO jobs VALUES(2,'second',0,'control','stopped',replace('kind=countdown\ncount=9\nrate=1/h\nmessage=grün "q"\n','\n',char(10)),1,1359475646685,0,1359684929802,1,0,NULL,647857786954391297);
INSERT INTO jobs VALUES(3,'third',0,'control','finished',replace('kind=once\n','\n',char(10)),1,1359477131745,0,1359477204232,1,0,NULL,6322327783040978217);
INSERT INTO jobs VALUES(4,'fourth',0,'control','paused',replace('kind=loop\ncount=1000000\nrate=4/s\nmissed=burst\n','\n',char(10)),1,1359479076714,1359479111157,1359896556975,2,0,NULL,-1792418626462196187);
INSERT INTO jobs VALUES(5,'fifth',0,'control','failed',replace('kind=once\nafter=first\n','\n',char(10)),1,1359480652176,0,1359791281521,0,0,'the job first, which it waits for, has stopped',2523066036714687696);
CREATE TABLE boots (boot INTEGER PRIMARY KEY, shift INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;
INSERT INTO boots VALUES(1,0,-4592649517946348966);
CREATE TABLE clock (boot INTEGER PRIMARY KEY, name TEXT NOT NULL, loop INTEGER NOT NULL, real INTEGER NOT NULL, stamp INTEGER NOT NULL, next_id INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;
INSERT INTO clock VALUES(1,'860ec9b9-09d5-45b8-8ac4-e75e5a398189 monotonic',1359902258534,1795831367187620653,1359791281521,6,-3061863955719068152);
