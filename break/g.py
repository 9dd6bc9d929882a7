from lib import *; from proxy import P
# G: planned switchover: old primary stays up, super_read_only; address now leads to another server; old connections live on
subprocess.run([os.environ['TEST_SERVERS'],'start','mysql','23308'],env={**os.environ,'IDENTITY_SERVERS_DIR':'/var/tmp/break'},capture_output=True)
for port in (23307,23308): my(port,'DROP DATABASE IF EXISTS brk_g; CREATE DATABASE brk_g',db='mysql')
p=P(24003,23308); u='mysql://app:app@127.0.0.1:24003/brk_g'
x=Svc(u); x.stop()   # migrate the later primary
p.target=23307; s=Svc(u); print(show(s.call('a@x','1')))
my(23308,"INSERT INTO Contact SELECT 1,'1','a@x',NULL,'primary',now(6),now(6),NULL; INSERT INTO Identifier VALUES('email','a@x',1),('phone','1',1)",db='brk_g')
my(23307,'SET GLOBAL super_read_only=ON'); p.target=23308
t0=time.time(); seen=[]
s2=Svc(u) # a second replica that started after the switchover
print('replica 2 links',show(s2.call('b@x','1')))
while time.time()-t0<20:
    r=s.call(f'n{int(time.time()*10)}@x',None); seen.append((round(time.time()-t0),r[0],s.get('/readyz'))); time.sleep(1)
print('writes,readyz:',seen); print('replica 1 reads (stale?):',show(s.call(None,'1')))
my(23307,'SET GLOBAL super_read_only=OFF'); s.stop(); s2.stop()
